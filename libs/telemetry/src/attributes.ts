/** Names of span attributes and metrics, in one place. `messaging.*` are OpenTelemetry's semantic conventions. */
export const Attribute = {
  VmId: 'ringside.vm.id', VcpuId: 'ringside.vcpu.id', Path: 'ringside.path', Operation: 'ringside.operation',
  ExitReason: 'ringside.exit.reason', ExitQualification: 'ringside.exit.qualification', ExitDisposition: 'ringside.exit.disposition',
  GuestEip: 'ringside.guest.eip', RingFrom: 'ringside.ring.from', RingTo: 'ringside.ring.to',
  Seq: 'ringside.seq', Ordinal: 'ringside.ordinal', Epoch: 'ringside.epoch', Now: 'ringside.virtual_time_ns',
  Address: 'ringside.address', Size: 'ringside.size', Count: 'ringside.count',
  DeviceId: 'ringside.device.id', DeviceLabel: 'ringside.device.label', DeviceRegister: 'ringside.device.register',
  UnitAt: 'ringside.unit.at', UnitHash: 'ringside.unit.hash', GuestBytes: 'ringside.unit.guest_bytes', HostBytes: 'ringside.unit.host_bytes', UnitInstructions: 'ringside.unit.instructions', UnitExits: 'ringside.unit.exits',
  Retired: 'ringside.retired', Executed: 'ringside.executed', Cycles: 'ringside.cycles', Repetitions: 'ringside.repetitions',
  Traced: 'ringside.messages.traced', Untraced: 'ringside.messages.untraced',
  MessagingSystem: 'messaging.system', Destination: 'messaging.destination.name', DestinationTemplate: 'messaging.destination.template', BodySize: 'messaging.message.body.size',
} as const;

/** Ring -1 and, below everything, the device model: where an exit goes. */
export const RING_MINUS_ONE = -1;
