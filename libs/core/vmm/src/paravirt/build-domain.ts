import type { Effect, VmSpec } from '@ringside/machine';
import { buildXenDomain, type XenDomain } from '@ringside/loaders';
import { NO_CONTROLS, type ExecutionControls } from '@ringside/x86';
import { MonitorTables } from '../deprivileged/monitor-tables.js';
import { MonitorSpace, PAGE_BYTES } from '../monitor-space.js';
import { HYPERCALL_STUBS, HYPERCALL_STUB_BYTES, HYPERCALL_VECTOR, Hypercall, SharedInfo, VcpuInfo, VcpuTimeInfo } from './abi.js';
import { Console } from './console.js';
import { creationTransaction } from './creation.js';
import { DirectPaging, PTE_ACCESSED, PTE_PRESENT, PTE_USER } from './direct-paging.js';
import { Domain } from './domain.js';
import { EventChannels } from './event-channels.js';
import { FrameOwner, FrameTable, FrameType } from './frame-table.js';
import type { KernelRing } from './kernel-ring.js';
import { chooseMachineFrames, machineFrameSpace, type MachineFrames } from './machine-frames.js';
import { XEN_SELECTORS } from './selectors.js';
import { EventWords } from './vcpu-info.js';
import { XEN_VECTORS, xenGate } from './xen-gates.js';

const { ceil } = Math;

const FRAMES_PER_MIB = 256;
/** M2P entries, and page-table entries, in a page. */
const M2P_PER_PAGE = PAGE_BYTES / 4;
const ENTRIES_PER_TABLE = PAGE_BYTES / 8;
const NO_PFN = 0xffff_ffff;
const MSR_EFER = 0xc000_0080, EFER_NXE = 0x800n;
/** SIF_PRIVILEGED: the domain drives the machine's devices. Not SIF_INITDOMAIN, whose console is no ring. */
const START_FLAGS = 1;
/** Virtual time is ns and the TSC runs at 1 GHz: ns = ((tsc << 1) × 2³¹) >> 32. */
const TSC_TO_SYSTEM_MUL = 0x8000_0000, TSC_SHIFT = 1;
/** An even version: not being updated. */
const CLOCK_VERSION = 2;
/** Wall-clock time at boot: a fixed date, since every run must be the same (2026-01-01T00:00:00Z, in seconds). */
const BOOT_SECONDS = 1_767_225_600;

/** Sizes that follow from the memory of the domain. */
interface Sizes { domainFrames: number; machineFrames: number; m2pPages: number; m2pTables: number }

function sizesOf(spec: VmSpec): Sizes {
  const domainFrames = spec.memoryMiB * FRAMES_PER_MIB;
  // Twice, since the M2P's own frames come out of the same space.
  let m2pPages = 0;
  let machineFrames = 0;
  for (let pass = 0; pass < 2; pass++) {
    machineFrames = machineFrameSpace(domainFrames, 1 + m2pPages + ceil(m2pPages / ENTRIES_PER_TABLE));
    m2pPages = machineFrames / M2P_PER_PAGE;
  }
  return { domainFrames, machineFrames, m2pPages, m2pTables: ceil(m2pPages / ENTRIES_PER_TABLE) };
}

/** Bytes of monitor space: descriptor tables, shared_info, the M2P table and the page tables that map it. */
export function domainMonitorBytes(spec: VmSpec): number {
  const { m2pPages, m2pTables } = sizesOf(spec);
  return (MonitorTables.PAGES + 1 + m2pPages + m2pTables) * PAGE_BYTES;
}

/**
 * A new domain, and the effects that create its machine: the frame map first, then what Xen's own builder leaves in memory,
 * then what only ring -1 can add. The domain's page tables go through the same validation as any the guest makes later.
 * Throws LoaderError for an image that is no PAE Xen PV kernel.
 */
export async function buildDomain(spec: VmSpec, image: Uint8Array, kernelRing: KernelRing): Promise<{ domain: Domain; effects: Effect[] }> {
  const { domainFrames, machineFrames, m2pPages, m2pTables } = sizesOf(spec);
  const machine = chooseMachineFrames(machineFrames, domainFrames, 1 + m2pPages + m2pTables);
  const [sharedInfoMfn, ...xenMfns] = machine.xen as [number, ...number[]];
  const m2pMfns = xenMfns.slice(0, m2pPages);
  const m2pTableMfns = xenMfns.slice(m2pPages);

  const space = new MonitorSpace(domainMonitorBytes(spec));
  const tables = new MonitorTables(space, XEN_SELECTORS);
  const sharedInfo = space.allocate();
  const m2p = space.allocate(m2pPages);
  const m2pTableBase = space.allocate(m2pTables);

  const channels = new EventChannels();
  const storePort = channels.allocate({ kind: 'unbound', remote: 0 });
  const consolePort = channels.allocate({ kind: 'console' });
  const built = buildXenDomain({
    image, ramdisk: null, commandLine: spec.commandLine, pfnToMfn: machine.pfnToMfn, sharedInfoMachineAddress: sharedInfoMfn * PAGE_BYTES,
    storeEventChannel: storePort, consoleEventChannel: consolePort, flags: START_FLAGS, kernelRing,
  });

  const controls = paravirtControls();
  const effects: Effect[] = [
    ...frameMap(machine, [
      { mfns: [sharedInfoMfn], base: sharedInfo }, { mfns: m2pMfns, base: m2p }, { mfns: m2pTableMfns, base: m2pTableBase },
    ]),
    ...tables.initialEffects(),
    ...XEN_VECTORS.map((vector) => tables.initialGate(vector, xenGate(vector, kernelRing))),
    { kind: 'memory', space: 'monitor', address: sharedInfo, bytes: initialSharedInfo() },
    { kind: 'memory', space: 'monitor', address: m2p, bytes: machineToPhysical(machine, machineFrames) },
    { kind: 'memory', space: 'monitor', address: m2pTableBase, bytes: readOnlyTables(m2pMfns, m2pTables) },
    { kind: 'msr', msr: MSR_EFER, value: EFER_NXE },
    { kind: 'controls', controls },
    ...built.effects,
    ...hypercallPage(built),
  ];

  const paging = new DirectPaging(initialFrameTable(machine, machineFrames, sharedInfoMfn), m2pTableMfns, kernelRing);
  const domain = new Domain({
    spec, kernelRing, tables, paging, channels, m2p,
    events: new EventWords(sharedInfo),
    console: new Console(consolePort, built.consoleMfn),
    ramFrameOf: new Map([...machine.pfnToMfn].map((mfn, pfn) => [mfn, pfn])),
  });
  effects.push(...await adoptPageTables(domain, built, effects));
  return { domain, effects };
}

/** Deprivileged: no ring 0 for the kernel, privileged instructions raise #GP, events whose gates lead to ring 0 are exits. CPUID runs natively. */
function paravirtControls(): ExecutionControls {
  return { ...NO_CONTROLS, nonRoot: true, deprivileged: true };
}

/**
 * Every machine frame of the domain has its place, and every other is a hole, where the processor finds the empty bus. It
 * does so by itself for frames beyond the VM's RAM; below, a frame would be the RAM frame of the same number.
 */
function frameMap({ pfnToMfn }: MachineFrames, monitor: readonly { mfns: readonly number[]; base: number }[]): Effect[] {
  const places = new Map<number, { space: 'guest' | 'monitor'; frame: number } | null>();
  for (let frame = 0; frame < pfnToMfn.length; frame++) places.set(frame, null);
  for (const [pfn, mfn] of pfnToMfn.entries()) places.set(mfn, { space: 'guest', frame: pfn });
  for (const { mfns, base } of monitor) for (const [index, mfn] of mfns.entries()) places.set(mfn, { space: 'monitor', frame: base / PAGE_BYTES + index });
  return [...places].map(([frame, target]): Effect => ({ kind: 'frame', frame, target }));
}

function initialFrameTable(machine: MachineFrames, machineFrames: number, sharedInfoMfn: number): FrameTable {
  const frames = new FrameTable(machineFrames);
  for (const mfn of machine.pfnToMfn) {
    frames.owner[mfn] = FrameOwner.domain;
    frames.allocated[mfn] = 1;
    frames.refCount[mfn] = 1;
  }
  for (const mfn of machine.xen) frames.owner[mfn] = FrameOwner.xen;
  // Xen's own use of shared_info: always written, so never a page table.
  frames.owner[sharedInfoMfn] = FrameOwner.shared;
  frames.refCount[sharedInfoMfn] = 1;
  frames.type[sharedInfoMfn] = FrameType.writable;
  frames.typeCount[sharedInfoMfn] = 1;
  return frames;
}

function initialSharedInfo(): Uint8Array {
  const bytes = new Uint8Array(PAGE_BYTES);
  const view = new DataView(bytes.buffer);
  const time = SharedInfo.vcpu_info + VcpuInfo.time;
  bytes[SharedInfo.vcpu_info + VcpuInfo.evtchn_upcall_mask] = 1;
  view.setUint32(time + VcpuTimeInfo.version, CLOCK_VERSION, true);
  view.setUint32(time + VcpuTimeInfo.tsc_to_system_mul, TSC_TO_SYSTEM_MUL, true);
  view.setInt8(time + VcpuTimeInfo.tsc_shift, TSC_SHIFT);
  view.setUint32(SharedInfo.wc_version, CLOCK_VERSION, true);
  view.setUint32(SharedInfo.wc_sec, BOOT_SECONDS, true);
  return bytes;
}

function machineToPhysical({ pfnToMfn }: MachineFrames, machineFrames: number): Uint8Array {
  const words = new Uint32Array(machineFrames).fill(NO_PFN);
  for (const [pfn, mfn] of pfnToMfn.entries()) words[mfn] = pfn;
  return new Uint8Array(words.buffer);
}

/** L1 tables that map `mfns` in order, read-only for the guest in every ring. */
function readOnlyTables(mfns: readonly number[], tables: number): Uint8Array {
  const words = new Uint32Array(tables * ENTRIES_PER_TABLE * 2);
  for (const [index, mfn] of mfns.entries()) words[index * 2] = (mfn << 12) | PTE_PRESENT | PTE_USER | PTE_ACCESSED;
  return new Uint8Array(words.buffer);
}

/**
 * The hypercall page: 128 stubs of 32 bytes, `mov $n, %eax; int $0x82; ret`. iret's is jumped to, not called, and keeps the
 * guest's EAX in its frame: `push %eax; mov $23, %eax; int $0x82`.
 */
function hypercallPage(built: XenDomain): Effect[] {
  if (built.hypercallPageMfn === null) return [];
  const bytes = new Uint8Array(PAGE_BYTES);
  for (let number = 0; number < HYPERCALL_STUBS; number++) {
    const call = [0xb8, number, 0, 0, 0, 0xcd, HYPERCALL_VECTOR];
    bytes.set(number === Hypercall.iret ? [0x50, ...call] : [...call, 0xc3], number * HYPERCALL_STUB_BYTES);
  }
  return [{ kind: 'memory', space: 'guest', address: built.hypercallPageMfn * PAGE_BYTES, bytes }];
}

/** Validate the builder's tables, pin and load the root, and keep the console's ring a page that may be written. */
async function adoptPageTables(domain: Domain, built: XenDomain, effects: readonly Effect[]): Promise<Effect[]> {
  const { paging } = domain;
  const transaction = creationTransaction(domain.spec.id, effects);
  const results = [await paging.setRoot(transaction, built.rootMfn)];
  for (const { mfn, type, pinned } of built.frames) if (pinned && type === 'l3') results.push(await paging.pin(transaction, mfn, FrameType.l3));
  for (const mfn of [built.consoleMfn, built.storeMfn]) results.push(await paging.getPageAndType(transaction, mfn, FrameType.writable));
  if (results.some((result) => result !== 0)) throw new Error(`the domain builder's page tables are not valid (${results.join(', ')})`);
  return transaction.effects;
}
