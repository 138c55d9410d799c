import type { Effect, Exit, ExitReply, VmSpec } from '@ringside/machine';
import { ExitReason, type BusAccess } from '@ringside/x86';
import { createMonitor } from '../create-monitor.js';
import type { VirtualMachineMonitor } from '../virtual-machine-monitor.js';
import { exitOf, multibootImage, RecordingBus, RecordingMemory, registers, SPEC } from '../testing/fixtures.js';

const HLT_LOOP = [0xf4, 0xeb, 0xfd];

interface Rig { monitor: VirtualMachineMonitor; bus: RecordingBus; memory: RecordingMemory; exit(reason: ExitReason, change?: Partial<Exit>): Promise<ExitReply> }
async function rig(change: Partial<VmSpec> = {}): Promise<Rig> {
  const bus = new RecordingBus();
  const memory = new RecordingMemory();
  const monitor = await createMonitor({ ...SPEC, ...change }, multibootImage(HLT_LOOP), { bus, memory });
  return { monitor, bus, memory, exit: async (reason, exitChange) => await monitor.exit(exitOf(reason, exitChange)) };
}
const port = (address: number, write: boolean, value = 0): BusAccess => ({ space: 'port', address, size: 1, write, count: 1, data: write ? Uint8Array.of(value) : new Uint8Array(0) });
const ofKind = <K extends Effect['kind']>(reply: ExitReply, kind: K): Extract<Effect, { kind: K }>[] =>
  reply.effects.filter((effect): effect is Extract<Effect, { kind: K }> => effect.kind === kind);

/** Walk the nested page tables that `replies` wrote, as the processor does. */
function walk(memory: Uint8Array, root: number, guestPhysical: number): number | null {
  const view = new DataView(memory.buffer);
  let table = root;
  for (const shift of [39, 30, 21, 12]) {
    const entry = table + (Math.floor(guestPhysical / 2 ** shift) % 512) * 8;
    const low = view.getUint32(entry, true);
    if ((low & 7) !== 7) return null;
    const base = (low & 0xffff_f000) >>> 0;
    if (shift === 12) return base + (guestPhysical % 4096);
    if ((low & 0x80) !== 0) return base + (guestPhysical % 2 ** shift);
    table = base;
  }
  return null;
}

describe('hardware-assisted', () => {
  it('begins with an empty nested page table and asks for the state that handlers use, no more', async () => {
    const { monitor } = await rig();
    const controls = monitor.initialEffects().flatMap((effect) => (effect.kind === 'controls' ? [effect.controls] : []));
    expect(controls).toHaveLength(1);
    expect(controls[0]).toMatchObject({ nonRoot: true, hltExiting: true, rdtscExiting: false, eptRoot: 0, deprivileged: false, ioExiting: 'all' });
    expect(monitor.stateGroups().get(ExitReason.IoInstruction)).toBe(0);
    expect(monitor.stateGroups().get(ExitReason.Cpuid)).toBe(1);
  });

  it('lets granted ports pass, and only them', async () => {
    const { monitor } = await rig({ grantedPorts: [{ from: 0x1f0, to: 0x1f7 }] });
    const [controls] = monitor.initialEffects().flatMap((effect) => (effect.kind === 'controls' ? [effect.controls] : []));
    const bitmap = controls!.ioExiting as Uint8Array;
    const exiting = Array.from({ length: 65_536 }, (_, number) => number).filter((number) => (bitmap[number >> 3]! & (1 << (number & 7))) === 0);
    expect(exiting).toEqual([0x1f0, 0x1f1, 0x1f2, 0x1f3, 0x1f4, 0x1f5, 0x1f6, 0x1f7]);
  });

  it('maps RAM by 2 MiB, by 4 KiB where it ends inside 2 MiB, and says nothing else to the guest', async () => {
    const { monitor, exit } = await rig({ memoryMiB: 5 });
    const monitorMemory = new Uint8Array(monitor.monitorBytes);
    for (const guestPhysical of [0x12_3456, 0x40_0123, 0x4f_fffc]) {
      const reply = await exit(ExitReason.EptViolation, { guestPhysical });
      expect(reply.disposition).toEqual({ kind: 'resume' });
      for (const effect of reply.effects) {
        if (effect.kind !== 'memory' || effect.space !== 'monitor') throw new Error(`unexpected effect ${effect.kind}`);
        monitorMemory.set(effect.bytes, effect.address);
      }
      expect(walk(monitorMemory, 0, guestPhysical)).toBe(guestPhysical);
    }
    expect(walk(monitorMemory, 0, 0x1f_ffff)).toBe(0x1f_ffff);
    expect(walk(monitorMemory, 0, 0x20_0000)).toBeNull();
    expect(walk(monitorMemory, 0, 0x40_1000)).toBeNull();
  });

  it('asks the board for an access outside RAM', async () => {
    const { bus, exit } = await rig();
    const access: BusAccess = { space: 'memory', address: 0xfec0_0000, size: 4, write: false, count: 1, data: new Uint8Array(0) };
    const reply = await exit(ExitReason.EptViolation, { guestPhysical: 0xfec0_0000, access });
    expect(bus.requests).toMatchObject([{ bus: 'mmio', address: 0xfec0_0000, size: 4, ordinal: 0 }]);
    expect(reply.disposition).toEqual({ kind: 'retire', data: Uint8Array.of(0x5a, 0x5a, 0x5a, 0x5a) });
  });

  it('answers for the interrupt controllers itself and asks the device model for other ports', async () => {
    const { bus, exit } = await rig();
    const mask = await exit(ExitReason.IoInstruction, { access: port(0x21, true, 0xfe) });
    expect(bus.requests).toHaveLength(0);
    expect(mask.disposition).toEqual({ kind: 'retire', data: null });
    expect((await exit(ExitReason.IoInstruction, { access: port(0x21, false) })).disposition).toEqual({ kind: 'retire', data: Uint8Array.of(0xfe) });
    const read = await exit(ExitReason.IoInstruction, { access: port(0x3f8, false) });
    expect(read.disposition).toEqual({ kind: 'retire', data: Uint8Array.of(0x5a) });
    expect(read.cost.nested).toEqual([{ bus: 'io.port', count: 1, waitNs: 0 }]);
  });

  it('acknowledges an interrupt when the guest can take it, raises the line when it cannot', async () => {
    const { bus, exit } = await rig();
    for (const [address, value] of [[0x20, 0x11], [0x21, 0x20], [0x21, 4], [0x21, 1], [0x21, 0xef]] as const) await exit(ExitReason.IoInstruction, { access: port(address, true, value) });
    bus.lines = bus.rose = 1 << 4;
    const held = await exit(ExitReason.IoInstruction, { access: port(0x3f8, true) });
    expect(ofKind(held, 'interrupt')).toEqual([{ kind: 'interrupt', line: true, vector: null }]);
    const taken = await exit(ExitReason.InterruptWindow);
    expect(taken.disposition).toEqual({ kind: 'resume' });
    expect(ofKind(taken, 'interrupt')).toEqual([{ kind: 'interrupt', line: false, vector: 0x24 }]);
  });

  it('lets timer and devices catch up at a deadline, and asks the device model only if it is due', async () => {
    const { bus, exit } = await rig();
    for (const [address, value] of [[0x20, 0x11], [0x21, 0x20], [0x21, 4], [0x21, 1], [0x21, 0xfe], [0x43, 0x34], [0x40, 0x9c], [0x40, 0x2e]] as const) {
      await exit(ExitReason.IoInstruction, { access: port(address, true, value) });
    }
    const reply = await exit(ExitReason.PreemptionTimer, { now: 20_000_000, interruptible: true });
    expect(ofKind(reply, 'interrupt')[0]!.vector).toBe(0x20);
    expect(bus.requests).toHaveLength(0);
    await exit(ExitReason.PreemptionTimer, { now: 20_000_001, qualification: 1 });
    expect(bus.requests).toMatchObject([{ bus: 'time', now: 20_000_001 }]);
  });

  it('routes a line that a granted port raised', async () => {
    const { bus, exit } = await rig({ grantedPorts: [{ from: 0x1f0, to: 0x1f7 }] });
    for (const [address, value] of [[0x20, 0x11], [0x21, 0x20], [0x21, 4], [0x21, 1], [0x21, 0xbf], [0xa0, 0x11], [0xa1, 0x28], [0xa1, 2], [0xa1, 1], [0xa1, 0xbf], [0x21, 0xfb]] as const) {
      await exit(ExitReason.IoInstruction, { access: port(address, true, value) });
    }
    const reply = await exit(ExitReason.Input, { qualification: (0x4000 << 16) | 0x4000, interruptible: true });
    expect(bus.requests).toHaveLength(0);
    expect(ofKind(reply, 'interrupt')).toEqual([{ kind: 'interrupt', line: false, vector: 0x2e }]);
    await exit(ExitReason.Input);
    expect(bus.requests).toMatchObject([{ bus: 'input' }]);
  });

  it('halts without looking at interrupts', async () => {
    const { exit } = await rig();
    const reply = await exit(ExitReason.Hlt, { interruptible: true });
    expect(reply.disposition).toEqual({ kind: 'retire', data: null });
    expect(reply.effects).toEqual([{ kind: 'activity', activity: 'halted' }]);
  });

  it('answers CPUID with the processor\'s own leaves', async () => {
    const { exit } = await rig();
    const reply = await exit(ExitReason.Cpuid, { registers: registers({ eax: 0 }) });
    expect(ofKind(reply, 'register').map(({ register, value }) => [register, value])).toEqual([['eax', 1], ['ebx', 0x756e_6547], ['ecx', 0x6c65_746e], ['edx', 0x4965_6e69]]);
  });

  it('carries out a write to CR0 that changes an owned bit, and checks it as the processor would', async () => {
    const { exit } = await rig();
    const write = (eax: number): Promise<ExitReply> => exit(ExitReason.CrAccess, { qualification: 0, registers: registers({ eax }) });
    const disabled = await write(0x6000_0011);
    expect(disabled.disposition).toEqual({ kind: 'retire', data: null });
    expect(ofKind(disabled, 'controls')[0]!.controls.cr0ReadShadow >>> 0).toBe(0x6000_0000);
    expect(ofKind(disabled, 'register')).toEqual([{ kind: 'register', register: 'cr0', value: 0x6000_0011 }]);
    const generalProtection = { kind: 'inject', event: { vector: 13, type: 3, errorCode: 0 }, cr2: null };
    expect((await write(0x2000_0011)).disposition).toEqual(generalProtection); // NW without CD
    expect((await write(0xe000_0010)).disposition).toEqual(generalProtection); // PG without PE
    expect((await exit(ExitReason.CrAccess, { qualification: 4, registers: registers({ eax: 0x2000 }) })).disposition).toEqual(generalProtection);
    expect(ofKind(await write(0x6000_0010), 'activity')[0]).toMatchObject({ activity: 'stopped', state: 'unsupported-mode' });
  });

  it('checks the page-directory pointers that a CR0 write loads', async () => {
    const { memory, exit } = await rig();
    const write = (): Promise<ExitReply> => exit(ExitReason.CrAccess, { registers: registers({ eax: 0xe000_0011, cr3: 0x2000, cr4: 0x20 }) });
    memory.guest.set([0x01, 0x30], 0x2000);
    expect((await write()).disposition.kind).toBe('retire');
    memory.guest.set([0x03, 0x30], 0x2008); // bit 1 of a PDPTE is reserved
    expect((await write()).disposition.kind).toBe('inject');
  });

  it('keeps IA32_EFER and refuses MSRs that do not exist', async () => {
    const { exit } = await rig();
    const efer = 0xc000_0080;
    const write = await exit(ExitReason.Wrmsr, { registers: registers({ ecx: efer, eax: 0x800 }) });
    expect(write.effects).toEqual([{ kind: 'msr', msr: efer, value: 0x800n }]);
    expect(ofKind(await exit(ExitReason.Rdmsr, { registers: registers({ ecx: efer }) }), 'register')[0]).toMatchObject({ register: 'eax', value: 0x800 });
    expect((await exit(ExitReason.Wrmsr, { registers: registers({ ecx: efer, eax: 0x801 }) })).disposition.kind).toBe('inject');
    expect((await exit(ExitReason.Rdmsr, { registers: registers({ ecx: 0x1fe3 }) })).disposition.kind).toBe('inject');
  });

  it('shows no personality: VMCALL is #UD', async () => {
    const { exit } = await rig();
    expect((await exit(ExitReason.Vmcall)).disposition).toMatchObject({ kind: 'inject', event: { vector: 6 } });
  });

  it('stops by name on a triple fault and on an unsupported mode', async () => {
    const { exit } = await rig();
    expect(ofKind(await exit(ExitReason.TripleFault), 'activity')[0]).toMatchObject({ activity: 'stopped', state: 'triple-fault' });
    expect(ofKind(await exit(ExitReason.UnsupportedMode, { qualification: 2 }), 'activity')[0]).toMatchObject({ activity: 'stopped', state: 'unsupported-mode' });
  });

  it('answers an exit that it did not ask for as a processor without the feature would', async () => {
    const { exit } = await rig();
    expect((await exit(ExitReason.Monitor)).disposition).toMatchObject({ kind: 'inject', event: { vector: 6 } });
    expect((await exit(ExitReason.Rdpmc)).disposition).toMatchObject({ kind: 'inject', event: { vector: 13 } });
  });
});
