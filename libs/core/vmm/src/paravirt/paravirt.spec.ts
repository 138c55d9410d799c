import { EventType, ExitReason } from '@ringside/x86';
import { LoaderError } from '@ringside/loaders';
import { createMonitor } from '../create-monitor.js';
import { ModelGuest } from '../testing/model-guest.js';
import { ENTRY, HYPERCALL_PAGE, PLAYGROUND, xenKernel } from '../testing/xen-kernel.js';
import { multibootImage, RecordingBus, SPEC } from '../testing/fixtures.js';
import { CallbackType, DOMID_SELF, EventChannelOp, Hypercall, MemoryOp, MmuExt, PhysdevOp, SchedOp, SharedInfo, VcpuOp, Virq, XenVersion } from './abi.js';
import { Errno } from './errno.js';

const RING1_CS = 0xe019, RING1_DS = 0xe021, RING3_CS = 0xe02b, RING3_DS = 0xe033;
const HANDLER = ENTRY + 0x100, UPCALL = ENTRY + 0x200, FAILSAFE = ENTRY + 0x300;
const EFLAGS_IF = 0x200;
/** Pages of the playground by what the specs use them for. */
const ARGUMENTS = PLAYGROUND, SHARED = PLAYGROUND + 0x1000, STACK_TOP = PLAYGROUND + 0x4000, SPARE = PLAYGROUND + 0x5000;
const GDT = PLAYGROUND + 0x8000;

/** A guest with shared_info mapped, a kernel stack, a trap table and callbacks. */
async function guest(): Promise<ModelGuest> {
  const made = await ModelGuest.create({ grantedPorts: [{ from: 0x1f0, to: 0x1f7 }] });
  const [sharedInfo] = made.peek32(made.startInfo + 36);
  expect(await made.call(Hypercall.update_va_mapping, SHARED, sharedInfo! | 3, 0, 2)).toBe(0);
  made.set('esp', STACK_TOP - 0x100);
  expect(await made.call(Hypercall.stack_switch, RING1_DS, STACK_TOP)).toBe(0);
  made.poke(ARGUMENTS, trapTable([[0, 0, RING1_CS, HANDLER], [3, 3, RING1_CS, HANDLER + 3], [6, 0, RING1_CS, HANDLER + 6], [13, 0, RING1_CS, HANDLER + 13], [14, 4, RING1_CS, HANDLER + 14], [0x80, 3, RING1_CS, HANDLER + 0x80]]));
  expect(await made.call(Hypercall.set_trap_table, ARGUMENTS)).toBe(0);
  expect(await made.call(Hypercall.set_callbacks, RING1_CS, UPCALL, RING1_CS, FAILSAFE)).toBe(0);
  return made;
}
function trapTable(rows: [vector: number, flags: number, cs: number, address: number][]): Uint8Array {
  const bytes = new Uint8Array((rows.length + 1) * 8);
  const view = new DataView(bytes.buffer);
  for (const [index, [vector, flags, cs, address]] of rows.entries()) {
    view.setUint8(index * 8, vector);
    view.setUint8(index * 8 + 1, flags);
    view.setUint16(index * 8 + 2, cs, true);
    view.setUint32(index * 8 + 4, address, true);
  }
  return bytes;
}
async function eventChannel(made: ModelGuest, operation: number, ...words: number[]): Promise<{ result: number; out: number[] }> {
  made.poke32(ARGUMENTS, ...words);
  return { result: await made.call(Hypercall.event_channel_op, operation, ARGUMENTS), out: made.peek32(ARGUMENTS, 6) };
}
const upcall = (made: ModelGuest): { pending: number; mask: number } => { const [pending, mask] = made.peek(SHARED, 2); return { pending: pending!, mask: mask! }; };
const unmaskUpcalls = (made: ModelGuest): void => made.poke(SHARED + 1, Uint8Array.of(0));
const stack = (made: ModelGuest, words: number): number[] => made.peek32(made.register('esp'), words);
function enterRing3(made: ModelGuest, eip: number, esp: number): void {
  made.set('eip', eip);
  made.set('esp', esp);
  made.set('cpl', 3);
  made.segments.set('cs', { selector: RING3_CS, base: 0, limit: 0xffff_ffff, rights: 0xc0fb });
  made.segments.set('ss', { selector: RING3_DS, base: 0, limit: 0xffff_ffff, rights: 0xc0f3 });
}

describe('a paravirtualized domain starts', () => {
  it('refuses an image without Xen notes, and specs it cannot run', async () => {
    const ports = { bus: new RecordingBus(), memory: await ModelGuest.create() };
    const spec = { ...SPEC, path: 'paravirt', mmu: 'direct', guestKernelRing: 1, memoryMiB: 8 } as const;
    await expect(createMonitor(spec, multibootImage([0xf4]), ports)).rejects.toBeInstanceOf(LoaderError);
    await expect(createMonitor({ ...spec, mmu: 'shadow' }, xenKernel(), ports)).rejects.toThrow('mmu "direct"');
    await expect(createMonitor({ ...spec, guestKernelRing: 0 }, xenKernel(), ports)).rejects.toThrow('ring 1 or 3');
    await expect(createMonitor({ ...spec, path: 'binary-translation' }, xenKernel(), ports)).rejects.toThrow('only the mmu "shadow"');
  });

  it('in ring 1, with paging on, at the entry its notes name', async () => {
    const made = await ModelGuest.create();
    expect(made.register('eip')).toBe(ENTRY);
    expect(made.register('cpl')).toBe(1);
    expect(made.register('cr0') & 0x8001_0001).toBe(0x8001_0001 | 0);
    expect(made.segments.get('cs')!.selector).toBe(RING1_CS);
    expect(made.peek(ENTRY, 2)).toEqual(Uint8Array.of(0xeb, 0xfe));
  });

  it('with machine frames that are neither contiguous nor its own numbers, and the way back in the M2P table', async () => {
    const made = await ModelGuest.create();
    const [list] = made.peek32(made.startInfo + 68);
    const frames = made.peek32(list!, 1024);
    expect(new Set(frames).size).toBe(1024);
    expect(frames.filter((mfn, pfn) => mfn === pfn).length).toBeLessThan(5);
    for (const pfn of [0, 1, 500, 1023]) expect(made.peek32(0xf580_0000 + frames[pfn]! * 4)).toEqual([pfn]);
    expect(made.walk(0xf580_0000)!.writable).toBe(false);
  });

  it('with a hypercall page of stubs, iret\'s apart', async () => {
    const made = await ModelGuest.create();
    expect([...made.peek(HYPERCALL_PAGE + 17 * 32, 8)]).toEqual([0xb8, 17, 0, 0, 0, 0xcd, 0x82, 0xc3]);
    expect([...made.peek(HYPERCALL_PAGE + 23 * 32, 8)]).toEqual([0x50, 0xb8, 23, 0, 0, 0, 0xcd, 0x82]);
  });

  it('with a clock that turns TSC ticks into nanoseconds one to one', async () => {
    const made = await guest();
    const view = new DataView(made.peek(SHARED + 32, 32).buffer);
    const mul = BigInt(view.getUint32(24, true));
    const shift = BigInt(view.getInt8(28));
    expect(view.getUint32(0, true) % 2).toBe(0);
    expect(((123_456_789n << shift) * mul) >> 32n).toBe(123_456_789n);
  });
});

describe('exceptions', () => {
  it('from the kernel are pushed on its stack, with error code and saved upcall mask', async () => {
    const made = await guest();
    made.set('eip', ENTRY);
    made.set('cr2', 0xdead_b000);
    made.set('eflags', 0x10302);
    const esp = made.register('esp');
    await made.trap(14, 2);
    expect(made.last.disposition).toEqual({ kind: 'resume' });
    expect(made.register('eip')).toBe(HANDLER + 14);
    expect(esp - made.register('esp')).toBe(16);
    expect(stack(made, 4)).toEqual([2, ENTRY, RING1_CS | (1 << 16), 0x10102]);
    expect(made.register('eflags')).toBe(0x202); // TF and RF off; the processor's IF stays
    expect(made.peek32(SHARED + 8)).toEqual([0xdead_b000]);
  });

  it('from ring 3 switch to the kernel stack; a trap that masks events does', async () => {
    const made = await guest();
    unmaskUpcalls(made);
    enterRing3(made, 0x40_0000, 0xbfff_0000);
    await made.trap(14, 6);
    expect(made.register('cpl')).toBe(1);
    expect(made.segments.get('ss')!.selector).toBe(RING1_DS);
    expect(stack(made, 6)).toEqual([6, 0x40_0000, RING3_CS, EFLAGS_IF | 2, 0xbfff_0000, RING3_DS]);
    expect(upcall(made).mask).toBe(1);
  });

  it('by INT3 return behind it', async () => {
    const made = await guest();
    enterRing3(made, 0x40_0000, 0xbfff_0000);
    await made.exit(ExitReason.DeprivilegedException, { event: { vector: 3, type: EventType.SoftwareException, errorCode: null }, instructionLength: 1 });
    expect(made.last.disposition.kind).toBe('retire');
    expect([made.register('eip'), ...stack(made, 1)]).toEqual([HANDLER + 3, 0x40_0001]);
  });

  it('INT n through a gate of the monitor asks the trap table, and is #GP where that has none', async () => {
    const made = await guest();
    enterRing3(made, 0x40_0000, 0xbfff_0000);
    await made.trap(13, (3 << 3) | 2);
    expect([made.register('eip'), ...stack(made, 1)]).toEqual([HANDLER + 3, 0x40_0002]);
    enterRing3(made, 0x40_0000, 0xbfff_0000);
    await made.trap(13, (6 << 3) | 2); // DPL 0: not from ring 3
    expect([made.register('eip'), ...stack(made, 2)]).toEqual([HANDLER + 13, (6 << 3) | 2, 0x40_0000]);
  });

  it('without a handler, or without a stack, end the domain with a sentence', async () => {
    const noHandler = await guest();
    await noHandler.trap(12, 0);
    expect([noHandler.stopped, noHandler.why]).toEqual(['crashed', expect.stringContaining('vector 12')]);
    const noStack = await guest();
    noStack.set('esp', 0x1000);
    await noStack.trap(0);
    expect([noStack.stopped, noStack.why]).toEqual(['crashed', expect.stringContaining('stack')]);
  });

  it('a system call gate leads straight to the guest', async () => {
    const made = await guest();
    const gates = made.monitorMemory;
    const low = new DataView(gates.buffer);
    const idt = made.monitor.initialEffects().flatMap((effect) => (effect.kind === 'table' && effect.table === 'idtr' ? [effect.base] : []))[0]!;
    expect(low.getUint32(idt + 0x80 * 8, true) >>> 16).toBe(RING1_CS);
    expect(low.getUint32(idt + 0x80 * 8 + 4, true) & 0xffff).toBe(0xef00); // present, DPL 3, trap gate
    expect(low.getUint32(idt + 0x82 * 8 + 4, true) & 0xffff).toBe(0xae00); // present, DPL 1, interrupt gate
    expect(low.getUint32(idt + 13 * 8, true) >>> 16).toBe(0xe008);
  });
});

describe('the iret hypercall', () => {
  it('returns to ring 3 with the interrupt flag as upcall mask, and clears the kernel\'s data segments', async () => {
    const made = await guest();
    made.set('esp', STACK_TOP - 24);
    made.poke32(STACK_TOP - 24, 0x1234, 0x40_0000, RING3_CS, EFLAGS_IF | 0x3001, 0xbfff_0000, RING3_DS);
    await made.call(Hypercall.iret);
    expect(made.register('eax')).toBe(0x1234);
    expect([made.register('eip'), made.register('esp'), made.register('cpl')]).toEqual([0x40_0000, 0xbfff_0000, 3]);
    expect(made.register('eflags') & 0x3201).toBe(0x201);
    expect(made.segments.get('cs')!.selector).toBe(RING3_CS);
    expect(made.segments.get('ds')!.selector).toBe(0);
    expect(upcall(made).mask).toBe(0);
  });

  it('stays in ring 1 without a stack of its own', async () => {
    const made = await guest();
    made.set('esp', STACK_TOP - 32);
    made.poke32(STACK_TOP - 32, 7, ENTRY, RING1_CS, 2);
    await made.call(Hypercall.iret);
    expect([made.register('eip'), made.register('esp'), made.register('cpl'), upcall(made).mask]).toEqual([ENTRY, STACK_TOP - 16, 1, 1]);
    expect(made.register('eflags') & EFLAGS_IF).toBe(EFLAGS_IF);
  });

  it('tells the failsafe callback of a selector that cannot be loaded, and ends the domain for ring 0', async () => {
    const made = await guest();
    made.set('esp', STACK_TOP - 0x80);
    made.poke32(STACK_TOP - 0x80, 0, 0x40_0000, 0x33, 2, 0xbfff_0000, RING3_DS);
    await made.call(Hypercall.iret);
    expect([made.stopped, made.register('eip'), made.register('cpl')]).toEqual([null, FAILSAFE, 1]);
    expect(stack(made, 9)).toEqual([RING1_DS, RING1_DS, RING1_DS, RING1_DS, 0x40_0000, 0x33 | (1 << 16), 2, 0xbfff_0000, RING3_DS]);
    const hostile = await guest();
    hostile.set('esp', STACK_TOP - 0x80);
    hostile.poke32(STACK_TOP - 0x80, 0, 0x40_0000, 0xe008, 2);
    await hostile.call(Hypercall.iret);
    expect(hostile.stopped).toBe('crashed');
  });
});

describe('event channels', () => {
  it('deliver a timer at its time: pending bits, an upcall frame, and the mask', async () => {
    const made = await guest();
    const { out } = await eventChannel(made, EventChannelOp.bind_virq, Virq.timer, 0, 0);
    const port = out[2]!;
    expect(await made.call(Hypercall.set_timer_op, 50_000, 0)).toBe(0);
    expect(made.deadline).toBe(50_000);
    unmaskUpcalls(made);
    made.now = 50_000;
    made.set('eip', ENTRY);
    await made.exit(ExitReason.PreemptionTimer);
    expect(made.register('eip')).toBe(UPCALL);
    expect(stack(made, 3)).toEqual([ENTRY, RING1_CS, made.register('eflags') | EFLAGS_IF]);
    expect(upcall(made)).toEqual({ pending: 1, mask: 1 });
    expect(made.peek32(SHARED + 4)).toEqual([1]);
    expect(made.peek32(SHARED + SharedInfo.evtchn_pending)).toEqual([1 << port]);
    expect(made.deadline).toBe(Infinity);
  });

  it('wait while upcalls are masked, and come with the next exit after', async () => {
    const made = await guest();
    await eventChannel(made, EventChannelOp.bind_virq, Virq.timer, 0, 0);
    await made.call(Hypercall.set_timer_op, 10, 0);
    expect(upcall(made)).toEqual({ pending: 1, mask: 1 });
    unmaskUpcalls(made);
    made.set('eip', ENTRY);
    await made.call(Hypercall.xen_version, XenVersion.version);
    expect(made.register('eip')).toBe(UPCALL);
    expect(stack(made, 1)).toEqual([ENTRY + 2]);
  });

  it('wait for the end of an interrupt shadow', async () => {
    const made = await guest();
    await eventChannel(made, EventChannelOp.bind_virq, Virq.timer, 0, 0);
    await made.call(Hypercall.set_timer_op, 50_000, 0);
    unmaskUpcalls(made);
    made.now = 50_000;
    made.set('eip', ENTRY);
    await made.exit(ExitReason.PreemptionTimer, { interruptible: false });
    expect(made.register('eip')).toBe(ENTRY);
    expect(made.last.effects).toContainEqual({ kind: 'interrupt', line: true, vector: null });
    await made.exit(ExitReason.InterruptWindow);
    expect(made.register('eip')).toBe(UPCALL);
    expect(made.last.effects).toContainEqual({ kind: 'interrupt', line: false, vector: null });
  });

  it('stay silent while the port is masked, until unmask', async () => {
    const made = await guest();
    const { out: [, , port] } = await eventChannel(made, EventChannelOp.bind_virq, Virq.timer, 0, 0);
    made.poke32(SHARED + SharedInfo.evtchn_mask, 1 << port!);
    await made.call(Hypercall.set_timer_op, 10, 0);
    expect(upcall(made).pending).toBe(0);
    await eventChannel(made, EventChannelOp.unmask, port!);
    expect(upcall(made).pending).toBe(1);
    expect(made.peek32(SHARED + SharedInfo.evtchn_mask)).toEqual([0]);
  });

  it('block waits, wakes for an event, and does not wait when one is there', async () => {
    const made = await guest();
    await eventChannel(made, EventChannelOp.bind_virq, Virq.timer, 0, 0);
    await made.call(Hypercall.set_timer_op, 90_000, 0);
    made.set('eip', ENTRY);
    expect(await made.call(Hypercall.sched_op, SchedOp.block)).toBe(0);
    expect([made.halted, upcall(made).mask]).toEqual([true, 0]);
    made.now = 90_000;
    await made.exit(ExitReason.PreemptionTimer);
    expect([made.halted, made.register('eip')]).toEqual([false, UPCALL]);
    await made.call(Hypercall.set_timer_op, 10, 0); // pending bit still set
    await made.call(Hypercall.sched_op, SchedOp.block);
    expect([made.halted, made.register('eip')]).toEqual([false, UPCALL]);
  });

  it('poll returns for its port or at its time, without unmasking', async () => {
    const made = await guest();
    const { out: [, port] } = await eventChannel(made, EventChannelOp.bind_ipi, 0, 0);
    made.poke32(ARGUMENTS + 0x40, port!);
    const poll = async (timeout: number): Promise<number> => {
      made.poke32(ARGUMENTS, ARGUMENTS + 0x40, 1, timeout, 0);
      return made.call(Hypercall.sched_op, SchedOp.poll, ARGUMENTS);
    };
    expect(await poll(70_000)).toBe(0);
    expect([made.halted, made.deadline]).toEqual([true, 70_000]);
    made.now = 70_000;
    await made.exit(ExitReason.PreemptionTimer);
    expect([made.halted, upcall(made).mask]).toEqual([false, 1]);
    await eventChannel(made, EventChannelOp.send, port!);
    expect(await poll(90_000)).toBe(0);
    expect(made.halted).toBe(false);
  });

  it('a device\'s line becomes the event of its pirq', async () => {
    const made = await guest();
    const { result, out: [, , port] } = await eventChannel(made, EventChannelOp.bind_pirq, 14, 0, 0);
    expect(result).toBe(0);
    await made.exit(ExitReason.Input, { qualification: (1 << 30) | (1 << 14) });
    expect(made.peek32(SHARED + SharedInfo.evtchn_pending)).toEqual([1 << port!]);
  });

  it('are refused as Xen refuses them', async () => {
    const made = await guest();
    expect((await eventChannel(made, EventChannelOp.bind_virq, 99, 0)).result).toBe(-Errno.EINVAL);
    expect((await eventChannel(made, EventChannelOp.bind_virq, 0, 1)).result).toBe(-Errno.ENOENT);
    expect((await eventChannel(made, EventChannelOp.bind_virq, 0, 0)).result).toBe(0);
    expect((await eventChannel(made, EventChannelOp.bind_virq, 0, 0)).result).toBe(-Errno.EEXIST);
    expect((await eventChannel(made, EventChannelOp.send, 900)).result).toBe(-Errno.EINVAL);
    expect((await eventChannel(made, 77)).result).toBe(-Errno.ENOSYS);
    expect(await made.call(Hypercall.event_channel_op, EventChannelOp.bind_virq, 0x1000)).toBe(-Errno.EFAULT);
  });

  it('a loop of two ports carries events both ways, and close frees one end', async () => {
    const made = await guest();
    const { out: [, one] } = await eventChannel(made, EventChannelOp.alloc_unbound, DOMID_SELF | (DOMID_SELF << 16), 0);
    const { out: [, , two] } = await eventChannel(made, EventChannelOp.bind_interdomain, DOMID_SELF, one!, 0);
    await eventChannel(made, EventChannelOp.send, two!);
    expect(made.peek32(SHARED + SharedInfo.evtchn_pending)[0]! & (1 << one!)).not.toBe(0);
    expect((await eventChannel(made, EventChannelOp.status, DOMID_SELF, two!)).out.slice(2, 5)).toEqual([2, 0, one]);
    expect((await eventChannel(made, EventChannelOp.close, two!)).result).toBe(0);
    expect((await eventChannel(made, EventChannelOp.status, DOMID_SELF, one!)).out[2]).toBe(1);
  });

  it('vcpu_info moves to the guest\'s own page once, with what it said', async () => {
    const made = await guest();
    const mfn = made.mfnOf(SPARE);
    made.poke32(ARGUMENTS, mfn, 0, 0x40, 0);
    expect(await made.call(Hypercall.vcpu_op, VcpuOp.register_vcpu_info, 0, ARGUMENTS)).toBe(0);
    expect([...made.peek(SPARE + 0x40, 2)]).toEqual([1, 1]);
    expect(await made.call(Hypercall.vcpu_op, VcpuOp.register_vcpu_info, 0, ARGUMENTS)).toBe(-Errno.EINVAL);
    made.poke(SPARE + 0x41, Uint8Array.of(0));
    await made.call(Hypercall.xen_version, 0);
    expect(made.register('eip')).toBe(UPCALL);
    // A frame that Xen writes to can be no page table.
    expect(await made.call(Hypercall.update_va_mapping, SPARE, (mfn << 12) | 1, 0, 2)).toBe(0);
    made.poke32(ARGUMENTS, MmuExt.pin_l1_table, mfn, 0);
    expect(await made.call(Hypercall.mmuext_op, ARGUMENTS, 1, 0, DOMID_SELF)).toBe(-Errno.EBUSY);
  });
});

describe('the console', () => {
  it('sends what stands in the ring, and takes typed bytes into it', async () => {
    const made = await guest();
    const [ringMfn, port] = made.peek32(made.startInfo + 52, 2);
    const ring = linearOf(made, ringMfn!);
    made.poke(ring + 1024, new TextEncoder().encode('hi'));
    made.poke32(ring + 3084, 2);
    await eventChannel(made, EventChannelOp.send, port!);
    expect(made.bus.requests.at(-1)).toMatchObject({ address: 0x3f8, write: true, count: 2, data: Uint8Array.of(0x68, 0x69) });
    expect(made.peek32(ring + 3080)).toEqual([2]);
    made.bus.lines = 1 << 4;
    made.bus.data = 0x61;
    const cycle = made.bus.cycle.bind(made.bus);
    made.bus.cycle = (request) => {
      if (request.address === 0x3f8 && !request.write) made.bus.lines = 0;
      return cycle(request);
    };
    await made.exit(ExitReason.Input);
    expect(made.peek32(ring + 3076)).toEqual([1]);
    expect([...made.peek(ring, 1)]).toEqual([0x61]);
    expect(made.peek32(SHARED + SharedInfo.evtchn_pending)[0]! & (1 << port!)).not.toBe(0);
  });

  it('console_io writes straight to the serial port', async () => {
    const made = await guest();
    made.poke(SPARE, new TextEncoder().encode('early'));
    expect(await made.call(Hypercall.console_io, 0, 5, SPARE)).toBe(0);
    expect(new TextDecoder().decode(made.bus.requests.at(-1)!.data)).toBe('early');
    expect(await made.call(Hypercall.console_io, 0, 5, 0x1000)).toBe(-Errno.EFAULT);
    // More than one exit may carry is refused, and little of it has been done.
    const asked = made.bus.requests.length;
    expect(await made.call(Hypercall.console_io, 0, 0x0400_0000, 0xc000_0000)).toBe(-Errno.E2BIG);
    expect(made.bus.requests.length - asked).toBeLessThan(30);
  });
});

describe('descriptor tables', () => {
  const flat = (dpl: number): number[] => [0xffff, 0x00cf_9b00 | (dpl << 13)];
  async function withGdt(made: ModelGuest, ...words: number[]): Promise<number> {
    made.poke32(GDT, ...words);
    const mfn = made.mfnOf(GDT);
    await made.call(Hypercall.update_va_mapping, GDT, (mfn << 12) | 1, 0, 2);
    made.poke32(ARGUMENTS, mfn);
    return made.call(Hypercall.set_gdt, ARGUMENTS, 512);
  }

  it('become the processor\'s, with DPL 0 raised to the guest kernel\'s ring', async () => {
    const made = await guest();
    expect(await withGdt(made, 0, 0, ...flat(0), ...flat(3))).toBe(0);
    expect(made.peek32(GDT + 8, 4)).toEqual([0xffff, 0x00cf_bb00, 0xffff, 0x00cf_fb00]);
    const view = new DataView(made.monitorMemory.buffer);
    expect(view.getUint32(12, true)).toBe(0x00cf_bb00);
    expect(await made.call(Hypercall.update_va_mapping, GDT, (made.mfnOf(GDT) << 12) | 3, 0, 2)).toBe(-Errno.EBUSY);
  });

  it('are refused while the guest can write them, and with descriptors that only Xen may have', async () => {
    const writable = await guest();
    writable.poke32(ARGUMENTS, writable.mfnOf(GDT));
    expect(await writable.call(Hypercall.set_gdt, ARGUMENTS, 512)).toBe(-Errno.EINVAL);
    const taskState = await guest();
    expect(await withGdt(taskState, 0, 0, 0x67, 0x8900)).toBe(-Errno.EINVAL);
    const gate = await guest();
    expect(await withGdt(gate, 0, 0, 0xe008_0000, 0xec00)).toBe(-Errno.EINVAL); // a call gate into ring 0
    expect(await gate.call(Hypercall.set_gdt, ARGUMENTS, 7169)).toBe(-Errno.EINVAL);
  });

  it('change by update_descriptor, checked again', async () => {
    const made = await guest();
    await withGdt(made, 0, 0);
    const address = made.mfnOf(GDT) * 4096 + 16;
    expect(await made.call(Hypercall.update_descriptor, address, 0, ...flat(0))).toBe(0);
    expect(made.peek32(GDT + 16, 2)).toEqual([0xffff, 0x00cf_bb00]);
    expect(new DataView(made.monitorMemory.buffer).getUint32(20, true)).toBe(0x00cf_bb00);
    expect(await made.call(Hypercall.update_descriptor, address, 0, 0x67, 0x8900)).toBe(-Errno.EINVAL);
    expect(await made.call(Hypercall.update_descriptor, address + 4, 0, ...flat(1))).toBe(-Errno.EINVAL);
    expect(await made.call(Hypercall.update_descriptor, 0x10_0000, 0, ...flat(1))).toBe(-Errno.EINVAL);
  });

  it('an LDT is named by linear address', async () => {
    const made = await guest();
    made.poke32(GDT, ...flat(0));
    await made.call(Hypercall.update_va_mapping, GDT, (made.mfnOf(GDT) << 12) | 1, 0, 2);
    made.poke32(ARGUMENTS, MmuExt.set_ldt, GDT, 1);
    expect(await made.call(Hypercall.mmuext_op, ARGUMENTS, 1, 0, DOMID_SELF)).toBe(0);
    expect(made.segments.get('ldtr')).toMatchObject({ limit: 7, rights: 0x82 });
    made.poke32(ARGUMENTS, MmuExt.set_ldt, GDT, 0);
    expect(await made.call(Hypercall.mmuext_op, ARGUMENTS, 1, 0, DOMID_SELF)).toBe(0);
    expect(made.segments.get('ldtr')!.rights).toBe(0x1_0000);
  });
});

describe('privileged instructions of the guest\'s kernel', () => {
  async function run(made: ModelGuest, ...code: number[]): Promise<void> {
    made.poke(SPARE, Uint8Array.from(code));
    made.set('eip', SPARE);
    await made.trap(13, 0);
  }
  async function setIopl(made: ModelGuest, iopl: number): Promise<void> {
    made.poke32(ARGUMENTS, iopl);
    expect(await made.call(Hypercall.physdev_op, PhysdevOp.set_iopl, ARGUMENTS)).toBe(0);
  }

  it('IN and OUT need I/O privilege; then they are bus cycles, but for Xen\'s own ports', async () => {
    const made = await guest();
    await run(made, 0xe4, 0x80); // in al, 0x80
    expect(made.register('eip')).toBe(HANDLER + 13);
    await setIopl(made, 1);
    made.set('eax', 0x1111_1111);
    await run(made, 0xe4, 0x80);
    expect([made.register('eip'), made.register('eax')]).toEqual([SPARE + 2, 0x1111_115a]);
    expect(made.bus.requests.at(-1)).toMatchObject({ bus: 'port', address: 0x80, write: false });
    const asked = made.bus.requests.length;
    await run(made, 0xe4, 0x21);
    expect([made.register('eax') & 0xff, made.bus.requests.length]).toEqual([0xff, asked]);
    made.set('edx', 0x604);
    made.set('eax', 0x2000);
    await run(made, 0x66, 0xef);
    expect(made.bus.requests.at(-1)).toMatchObject({ address: 0x604, size: 2, write: true, data: Uint8Array.of(0, 0x20) });
  });

  it('granted ports open in the task state segment with I/O privilege', async () => {
    const made = await guest();
    const base = made.segments.get('tr')!.base + 104;
    expect(made.monitorMemory[base + 0x3e]).toBe(0xff);
    await setIopl(made, 1);
    expect(made.monitorMemory[base + 0x3e]).toBe(0);
    await setIopl(made, 0);
    expect(made.monitorMemory[base + 0x3e]).toBe(0xff);
  });

  it('REP INS moves a page run at once, and nothing when memory cannot take it', async () => {
    const made = await guest();
    await setIopl(made, 1);
    made.set('edx', 0x2f8);
    made.set('ecx', 4);
    made.set('edi', SPARE + 0x100);
    await run(made, 0xf3, 0x6d); // rep insd
    expect([made.register('eip'), made.register('ecx'), made.register('edi')]).toEqual([SPARE + 2, 0, SPARE + 0x110]);
    expect([...made.peek(SPARE + 0x100, 16)]).toEqual(new Array(16).fill(0x5a));
    const asked = made.bus.requests.length;
    made.set('ecx', 4);
    made.set('edi', HYPERCALL_PAGE - VIRTUAL_HOLE);
    await run(made, 0xf3, 0x6d);
    expect(made.register('eip')).toBe(HANDLER + 14);
    expect(made.bus.requests.length).toBe(asked);
  });

  it('INS of an application with I/O privilege does not reach the kernel\'s pages', async () => {
    const made = await guest();
    await setIopl(made, 3);
    made.set('edx', 0x2f8);
    made.set('edi', SPARE + 0x100);
    made.poke(SPARE, Uint8Array.of(0x6d));
    enterRing3(made, SPARE, 0xbfff_0000);
    const asked = made.bus.requests.length;
    await made.trap(13, 0);
    expect([made.register('eip'), made.register('cpl')]).toEqual([HANDLER + 14, 1]);
    expect(made.bus.requests.length).toBe(asked);
  });

  it('CLTS, MOV CR0 and RDMSR do what a domain may, MOV CR0 that clears PG is #GP', async () => {
    const made = await guest();
    await made.call(Hypercall.fpu_taskswitch, 1);
    expect(made.register('cr0') & 8).toBe(8);
    await run(made, 0x0f, 0x06);
    expect([made.register('cr0') & 8, made.register('eip')]).toEqual([0, SPARE + 2]);
    made.set('eax', made.register('cr0') | 8);
    await run(made, 0x0f, 0x22, 0xc0);
    expect(made.register('cr0') & 8).toBe(8);
    made.set('eax', made.register('cr0') & 0x7fff_ffff);
    await run(made, 0x0f, 0x22, 0xc0);
    expect(made.register('eip')).toBe(HANDLER + 13);
    await run(made, 0x0f, 0x20, 0xd8); // mov eax, cr3: the machine frame
    expect(made.register('eax') >>> 12).toBe(made.root & 0xf_ffff);
  });

  it('are #GP in ring 3, and where nothing stands for them', async () => {
    const made = await guest();
    await run(made, 0xf4); // hlt
    expect(made.register('eip')).toBe(HANDLER + 13);
    made.poke(SPARE, Uint8Array.of(0x0f, 0x06));
    enterRing3(made, SPARE, 0xbfff_0000);
    await made.trap(13, 0);
    expect([made.register('eip'), made.register('cpl')]).toEqual([HANDLER + 13, 1]);
  });

  it('forced emulation shows Xen\'s CPUID leaves', async () => {
    const made = await guest();
    made.poke(SPARE, Uint8Array.of(0x0f, 0x0b, 0x78, 0x65, 0x6e, 0x0f, 0xa2));
    made.set('eip', SPARE);
    made.set('eax', 0x4000_0000);
    await made.trap(6);
    expect([made.register('ebx'), made.register('ecx'), made.register('edx')]).toEqual([0x566e_6558, 0x6558_4d4d, 0x4d4d_566e]);
    expect([made.register('eip'), made.last.disposition.kind]).toEqual([SPARE + 7, 'retire']);
    made.poke(SPARE, Uint8Array.of(0x0f, 0x0b, 0x90));
    made.set('eip', SPARE);
    await made.trap(6);
    expect(made.register('eip')).toBe(HANDLER + 6);
  });
});

describe('other hypercalls', () => {
  it('multicall carries each result, and refuses what needs the frame', async () => {
    const made = await guest();
    made.poke32(SPARE, Hypercall.fpu_taskswitch, 0xffff, 1, 0, 0, 0, 0, 0, Hypercall.iret, 0, 0, 0, 0, 0, 0, 0, 99, 0, 0, 0, 0, 0, 0, 0);
    expect(await made.call(Hypercall.multicall, SPARE, 3)).toBe(0);
    expect([made.peek32(SPARE + 4)[0]! | 0, made.peek32(SPARE + 36)[0]! | 0, made.peek32(SPARE + 68)[0]! | 0]).toEqual([0, -Errno.EINVAL, -Errno.ENOSYS]);
    expect(made.register('cr0') & 8).toBe(8);
  });

  it('a list that would make the reply too heavy is cut off', async () => {
    const made = await guest();
    const mfn = made.mfnOf(SPARE);
    made.poke(PLAYGROUND + 0x1_0000, new Uint8Array(Uint32Array.from({ length: 3 * 300 }, (_, word) => (word % 3 === 0 ? MmuExt.clear_page : word % 3 === 1 ? mfn : 0)).buffer));
    expect(await made.call(Hypercall.mmuext_op, PLAYGROUND + 0x1_0000, 300, ARGUMENTS, DOMID_SELF)).toBe(-Errno.E2BIG);
    const [done] = made.peek32(ARGUMENTS);
    expect(done).toBeGreaterThan(100);
    expect(done! * 4096).toBeLessThan(600 * 1024);
  });

  it('memory_op gives frames back, zeroed when taken again', async () => {
    const made = await guest();
    const before = await made.call(Hypercall.memory_op, MemoryOp.current_reservation, domid(made));
    const mfn = made.mfnOf(SPARE);
    made.poke(SPARE, Uint8Array.of(1, 2, 3));
    expect(await made.call(Hypercall.update_va_mapping, SPARE, 0, 0, 2)).toBe(0);
    made.poke32(ARGUMENTS, mfn);
    made.poke32(ARGUMENTS + 64, ARGUMENTS, 1, 0, 0, DOMID_SELF);
    expect(await made.call(Hypercall.memory_op, MemoryOp.decrease_reservation, ARGUMENTS + 64)).toBe(1);
    expect(made.frames.get(mfn)).toBeNull();
    expect(await made.call(Hypercall.memory_op, MemoryOp.current_reservation, domid(made))).toBe(before - 1);
    expect(await made.call(Hypercall.update_va_mapping, SPARE, (mfn << 12) | 3, 0, 2)).toBe(-Errno.EPERM);
    expect(await made.call(Hypercall.memory_op, MemoryOp.decrease_reservation, ARGUMENTS + 64)).toBe(0);
    made.poke32(ARGUMENTS, 7);
    expect(await made.call(Hypercall.memory_op, MemoryOp.populate_physmap, ARGUMENTS + 64)).toBe(1);
    const [given] = made.peek32(ARGUMENTS);
    expect(await made.call(Hypercall.update_va_mapping, SPARE, (given! << 12) | 3, 0, 2)).toBe(0);
    expect([...made.peek(SPARE, 3)]).toEqual([0, 0, 0]);
    expect(made.peek32(0xf580_0000 + given! * 4)).toEqual([7]);
  });

  it('xen_version says who it is', async () => {
    const made = await guest();
    expect(await made.call(Hypercall.xen_version, XenVersion.version)).toBe((4 << 16) | 17);
    expect(await made.call(Hypercall.xen_version, XenVersion.capabilities, SPARE)).toBe(0);
    expect(new TextDecoder().decode(made.peek(SPARE, 15))).toBe('xen-3.0-x86_32p');
    made.poke32(SPARE, 0, 0);
    expect(await made.call(Hypercall.xen_version, XenVersion.get_features, SPARE)).toBe(0);
    expect(made.peek32(SPARE + 4)).toEqual([1 << 5]);
  });

  it('shutdown ends the machine by name', async () => {
    for (const [reason, state] of [[0, 'shutdown'], [3, 'crashed']] as const) {
      const made = await guest();
      made.poke32(ARGUMENTS, reason);
      await made.call(Hypercall.sched_op, SchedOp.shutdown, ARGUMENTS);
      expect(made.stopped).toBe(state);
    }
  });

  it('callback_op registers what set_callbacks does', async () => {
    const made = await guest();
    made.poke32(ARGUMENTS, CallbackType.event, RING1_CS, UPCALL + 1);
    expect(await made.call(Hypercall.callback_op, 0, ARGUMENTS)).toBe(0);
    made.poke32(ARGUMENTS, CallbackType.sysenter, RING1_CS, UPCALL);
    expect(await made.call(Hypercall.callback_op, 0, ARGUMENTS)).toBe(-Errno.ENOSYS);
  });

  it.each([[20], [34], [36], [127], [0xffff_ffff]])('number %i is not there', async (number) => {
    const made = await guest();
    expect(await made.call(number, 0, 0, 0)).toBe(-Errno.ENOSYS);
  });
});

/** An address below everything that is mapped, from HYPERCALL_PAGE. */
const VIRTUAL_HOLE = 0x1000_0000;
function domid(made: ModelGuest): number {
  made.poke32(ARGUMENTS + 128, DOMID_SELF);
  return ARGUMENTS + 128;
}
/** Where the initial tables map a machine frame. */
function linearOf(made: ModelGuest, mfn: number): number {
  return 0xc000_0000 + made.peek32(0xf580_0000 + mfn * 4)[0]! * 4096;
}
