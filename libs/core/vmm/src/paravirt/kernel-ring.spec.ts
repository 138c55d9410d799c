import { EventType } from '@ringside/x86';
import { ModelGuest } from '../testing/model-guest.js';
import { checkFrameTable, checkTables } from '../testing/direct-paging-rule.js';
import { ENTRY, PLAYGROUND } from '../testing/xen-kernel.js';
import { DOMID_SELF, Hypercall, MmuExt, PhysdevOp } from './abi.js';
import { Errno } from './errno.js';

/*
 * The kernel in ring 3, by hand-made exits. (Ringlet runs in both rings: libs/core/single-process.)
 */
const RING3_CS = 0xe02b, RING3_DS = 0xe033;
const HANDLER = ENTRY + 0x100;
const EFLAGS_IF = 0x200;
/** Pages of the playground by what the specs use them for. */
const ARGUMENTS = PLAYGROUND, SHARED = PLAYGROUND + 0x1000, STACK_TOP = PLAYGROUND + 0x4000;
const USER_L1 = PLAYGROUND + 0x8000, USER_L2 = PLAYGROUND + 0x9000, KERNEL_ROOT = PLAYGROUND + 0xa000, USER_ROOT = PLAYGROUND + 0xb000, USER_PAGE = PLAYGROUND + 0xc000, SPARE = PLAYGROUND + 0xd000;
/** Where the application's one page stands. */
const APPLICATION = 0x0040_0000;

/** A kernel in ring 3 with handlers and a stack. */
async function guest(): Promise<ModelGuest> {
  const made = await ModelGuest.create({ guestKernelRing: 3 });
  const [sharedInfo] = made.peek32(made.startInfo + 36);
  expect(await made.call(Hypercall.update_va_mapping, SHARED, sharedInfo! | 3, 0, 2)).toBe(0);
  made.set('esp', STACK_TOP - 0x100);
  expect(await made.call(Hypercall.stack_switch, RING3_DS, STACK_TOP)).toBe(0);
  const rows = [[3, 3], [13, 0], [14, 4], [0x70, 1], [0x80, 3]] as const;
  made.poke32(ARGUMENTS, ...rows.flatMap(([vector, flags]) => [vector | (flags << 8) | (RING3_CS << 16), HANDLER + vector]), 0, 0);
  expect(await made.call(Hypercall.set_trap_table, ARGUMENTS)).toBe(0);
  return made;
}

async function mmuext(made: ModelGuest, ...operation: number[]): Promise<number> {
  made.poke32(ARGUMENTS, ...operation, 0, 0);
  return made.call(Hypercall.mmuext_op, ARGUMENTS, 1, 0, DOMID_SELF);
}

/** An address space with one page for the application, on two roots: the kernel stands in the first alone. */
async function addressSpace(made: ModelGuest): Promise<{ root: number; userRoot: number }> {
  const frame = (linear: number): number => made.mfnOf(linear);
  const entry = (linear: number, flags: number): number => ((frame(linear) << 12) | flags) >>> 0;
  made.poke32(USER_L1 + ((APPLICATION >>> 12) & 511) * 8, entry(USER_PAGE, 7), 0);
  made.poke32(USER_L2 + (APPLICATION >>> 21) * 8, entry(USER_L1, 7), 0);
  const [kernelLow, kernelHigh] = made.entry(made.root * 4096 + 3 * 8);
  made.poke32(KERNEL_ROOT, entry(USER_L2, 1), 0, 0, 0, 0, 0, kernelLow, kernelHigh);
  made.poke32(USER_ROOT, entry(USER_L2, 1), 0, 0, 0, 0, 0, 0, 0);
  const roots = { root: frame(KERNEL_ROOT), userRoot: frame(USER_ROOT) };
  for (const table of [USER_L1, USER_L2, KERNEL_ROOT, USER_ROOT]) expect(await made.call(Hypercall.update_va_mapping, table, entry(table, 1), 0, 2)).toBe(0);
  expect(await mmuext(made, MmuExt.new_baseptr, roots.root)).toBe(0);
  return roots;
}

/** Return to the application by the iret hypercall. */
async function enterApplication(made: ModelGuest, flags = EFLAGS_IF): Promise<void> {
  made.set('esp', STACK_TOP - 24);
  made.poke32(STACK_TOP - 24, 0x1234, APPLICATION, RING3_CS, flags, APPLICATION + 0xff0, RING3_DS);
  await made.call(Hypercall.iret);
}

async function running(): Promise<{ made: ModelGuest; root: number; userRoot: number }> {
  const made = await guest();
  const roots = await addressSpace(made);
  expect(await mmuext(made, MmuExt.new_user_baseptr, roots.userRoot)).toBe(0);
  await enterApplication(made);
  return { made, ...roots };
}
const stack = (made: ModelGuest, words: number): number[] => made.peek32(made.register('esp'), words);
/** Type, DPL and selector of a gate. */
function gate(made: ModelGuest, vector: number): { attributes: number; selector: number } {
  const idt = made.monitor.initialEffects().flatMap((effect) => (effect.kind === 'table' && effect.table === 'idtr' ? [effect.base] : []))[0]!;
  const view = new DataView(made.monitorMemory.buffer);
  return { attributes: view.getUint16(idt + vector * 8 + 4, true), selector: view.getUint16(idt + vector * 8 + 2, true) };
}

describe('a kernel in ring 3', () => {
  it('is entered there, on pages that ring 3 may use', async () => {
    const made = await ModelGuest.create({ guestKernelRing: 3 });
    expect([made.register('cpl'), made.segments.get('cs')!.selector, made.segments.get('ss')!.selector]).toEqual([3, RING3_CS, RING3_DS]);
    const { entryAddress } = made.walk(ENTRY)!;
    expect(made.entry(entryAddress)[0] & 4).toBe(4);
  });

  it('has no gate of its own: system calls and hypercalls lead into ring -1', async () => {
    const made = await guest();
    expect(gate(made, 0x80)).toEqual({ attributes: 0xee00, selector: 0xe008 });
    expect(gate(made, 0x82)).toEqual({ attributes: 0xee00, selector: 0xe008 });
    expect(gate(made, 0x70).attributes).toBe(0); // DPL 1: #GP, and ring -1 looks who asked
    expect(gate(made, 14)).toEqual({ attributes: 0x8e00, selector: 0xe008 });
  });

  it('names itself with the selectors and descriptors of ring 3, whatever it asks for', async () => {
    const made = await guest();
    expect(await made.call(Hypercall.stack_switch, 0x11, STACK_TOP)).toBe(0);
    expect(made.domain.kernelSs).toBe(0x13);
    const spare = made.mfnOf(USER_PAGE) * 4096;
    expect(await made.call(Hypercall.update_descriptor, spare >>> 0, Math.floor(spare / 2 ** 32), 0xffff, 0x00cf_bb00)).toBe(0);
    expect(made.peek32(USER_PAGE, 2)).toEqual([0xffff, 0x00cf_fb00]);
  });

  it('goes to its application on other page tables, in which it does not stand', async () => {
    const { made, root, userRoot } = await running();
    expect([made.register('eip'), made.register('eax'), made.register('cpl')]).toEqual([APPLICATION, 0x1234, 3]);
    expect(made.root).toBe(userRoot);
    expect([made.walk(ENTRY), made.walk(0xf580_0000)]).toEqual([null, null]);
    expect(made.walk(APPLICATION)!.mfn).toBe(made.walk(APPLICATION, root)!.mfn);
    checkTables(made);
    checkFrameTable(made);
  });

  it('comes back on its own tables and stack; RPL 3 in the frame says from where', async () => {
    const { made, root } = await running();
    await made.trap(0x80, null, EventType.SoftwareInterrupt);
    expect(made.last.disposition.kind).toBe('retire');
    expect([made.root, made.register('eip')]).toEqual([root, HANDLER + 0x80]);
    expect(stack(made, 5)).toEqual([APPLICATION + 2, RING3_CS, EFLAGS_IF, APPLICATION + 0xff0, RING3_DS]);
    // From the kernel: the same stack, and RPL 0.
    made.set('eip', ENTRY);
    const esp = made.register('esp');
    await made.trap(3, null, EventType.SoftwareException);
    expect(stack(made, 3)).toEqual([ENTRY + 2, RING3_CS & ~3, EFLAGS_IF]);
    expect(esp - made.register('esp')).toBe(12);
    made.set('esp', made.register('esp') - 4);
    await made.call(Hypercall.iret);
    expect([made.root, made.register('eip'), made.register('esp'), made.segments.get('cs')!.selector]).toEqual([root, ENTRY + 2, esp, RING3_CS]);
  });

  it('is told by the error code of a page fault who it was', async () => {
    const { made } = await running();
    made.set('cr2', 0x1000);
    await made.trap(14, 6); // the processor's U/S bit is 1 for both
    expect(stack(made, 2)).toEqual([6, APPLICATION]);
    await made.trap(14, 6);
    expect(stack(made, 2)).toEqual([2, HANDLER + 14]);
  });

  it('alone may ask: a hypercall of its application is #GP, and so is an INT n of the kernel\'s', async () => {
    const { made } = await running();
    const eip = made.register('eip');
    await made.call(Hypercall.stack_switch, RING3_DS, 0x1000);
    expect([made.register('eip'), ...stack(made, 3)]).toEqual([HANDLER + 13, (0x82 << 3) | 2, eip, RING3_CS]);
    expect(made.domain.kernelEsp).toBe(STACK_TOP);
    await enterApplication(made);
    await made.trap(13, (0x70 << 3) | 2);
    expect([made.register('eip'), stack(made, 1)[0]]).toEqual([HANDLER + 13, (0x70 << 3) | 2]);
    await made.trap(13, (0x70 << 3) | 2);
    expect(made.register('eip')).toBe(HANDLER + 0x70);
  });

  it('has I/O privilege that its application has not', async () => {
    const { made } = await running();
    made.poke(APPLICATION, Uint8Array.of(0xe4, 0x61)); // in al, 0x61
    await made.trap(13, 0);
    expect(made.register('eip')).toBe(HANDLER + 13);
    made.poke32(ARGUMENTS, 1);
    expect(await made.call(Hypercall.physdev_op, PhysdevOp.set_iopl, ARGUMENTS)).toBe(0);
    made.poke(ENTRY, Uint8Array.of(0xe4, 0x61));
    made.set('eip', ENTRY);
    await made.trap(13, 0);
    expect(made.register('eip')).toBe(ENTRY + 2);
    await enterApplication(made);
    await made.trap(13, 0);
    expect(made.register('eip')).toBe(HANDLER + 13);
  });

  it('cannot be reached through ring -1 by its application: an OUTS of kernel memory is a page fault', async () => {
    const { made } = await running();
    await made.trap(0x80, null, EventType.SoftwareInterrupt);
    made.poke32(ARGUMENTS, 3);
    expect(await made.call(Hypercall.physdev_op, PhysdevOp.set_iopl, ARGUMENTS)).toBe(0);
    made.poke(USER_PAGE, Uint8Array.of(0x6e)); // outsb
    await enterApplication(made);
    made.set('esi', ENTRY);
    made.set('edx', 0x300);
    const cycles = made.bus.requests.length;
    await made.trap(13, 0);
    expect([made.register('eip'), stack(made, 1)[0]]).toEqual([HANDLER + 14, 4]);
    expect(made.bus.requests.length).toBe(cycles);
  });

  it('ends by name when it returns to an application without page tables for it', async () => {
    const made = await guest();
    await addressSpace(made);
    await enterApplication(made);
    expect([made.stopped, made.why]).toEqual(['crashed', expect.stringContaining('MMUEXT_NEW_USER_BASEPTR')]);
  });

  it('may withdraw them, and change them', async () => {
    const { made, userRoot } = await running();
    await made.trap(0x80, null, EventType.SoftwareInterrupt);
    expect(made.domain.paging.userRoot).toBe(userRoot);
    expect(await mmuext(made, MmuExt.new_user_baseptr, made.mfnOf(USER_PAGE))).toBe(-Errno.EBUSY); // mapped writable
    const empty = made.mfnOf(SPARE);
    expect(await made.call(Hypercall.update_va_mapping, SPARE, ((empty << 12) | 1) >>> 0, 0, 2)).toBe(0);
    expect(await mmuext(made, MmuExt.new_user_baseptr, empty)).toBe(0); // an empty table is a valid one
    expect(await mmuext(made, MmuExt.new_user_baseptr, made.mfnOf(USER_L1))).toBeLessThan(0);
    expect(await mmuext(made, MmuExt.new_user_baseptr, 0)).toBe(0);
    expect(made.domain.paging.userRoot).toBe(-1);
    checkFrameTable(made);
  });
});

test('a kernel in ring 1 has no second root', async () => {
  const made = await ModelGuest.create();
  expect(await mmuext(made, MmuExt.new_user_baseptr, made.root)).toBe(-Errno.ENOSYS);
});
