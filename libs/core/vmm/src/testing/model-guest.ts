import {
  SEGMENT_NAMES, type Effect, type Exit, type ExitReply, type GuestMemoryReader, type MemorySpace, type RegisterName, type SegmentName, type SegmentState, type VmSpec,
} from '@ringside/machine';
import { EventType, ExitReason } from '@ringside/x86';
import { buildDomain } from '../paravirt/build-domain.js';
import type { Domain } from '../paravirt/domain.js';
import { paravirtMonitor } from '../paravirt/paravirt-monitor.js';
import { VirtualMachineMonitor } from '../virtual-machine-monitor.js';
import { exitOf, RecordingBus, SPEC } from './fixtures.js';
import { xenKernel } from './xen-kernel.js';

const GENERAL: readonly RegisterName[] = ['eax', 'ecx', 'edx', 'ebx', 'esp', 'ebp', 'esi', 'edi'];
const PARAVIRT: VmSpec = { ...SPEC, path: 'paravirt', mmu: 'direct', guestKernelRing: 1, memoryMiB: 8 };

/**
 * A paravirtualized guest without a processor: memory, the frame map and registers, changed by effects alone. Specs play the
 * kernel by hand. Its page walk reads the tables in memory and shares nothing with ring -1.
 */
export class ModelGuest implements GuestMemoryReader {
  readonly ram: Uint8Array;
  monitorMemory = new Uint8Array(0);
  readonly frames = new Map<number, { space: MemorySpace; frame: number } | null>();
  readonly registers = new Map<RegisterName, number>();
  readonly segments = new Map<SegmentName, SegmentState>();
  readonly bus = new RecordingBus();
  monitor!: VirtualMachineMonitor;
  /** Ring -1's own view, for specs that compare it with memory. */
  domain!: Domain;
  /** Linear address of start_info. */
  startInfo = 0;
  /** The store and console pages, which Xen writes. */
  xenWrittenFrames: number[] = [];
  now = 1000;
  deadline = Infinity;
  halted = false;
  stopped: string | null = null;
  why = '';
  flushes = 0;
  last!: ExitReply;

  static async create(change: Partial<VmSpec> = {}, image = xenKernel()): Promise<ModelGuest> {
    const spec = { ...PARAVIRT, ...change };
    const guest = new ModelGuest(spec.memoryMiB * 0x10_0000);
    const built = await buildDomain(spec, image, spec.guestKernelRing === 3 ? 3 : 1);
    guest.domain = built.domain;
    guest.monitor = new VirtualMachineMonitor(spec, paravirtMonitor(built), { bus: guest.bus, memory: guest });
    guest.monitorMemory = new Uint8Array(guest.monitor.monitorBytes);
    guest.apply(guest.monitor.initialEffects());
    guest.startInfo = guest.register('esi');
    guest.xenWrittenFrames = [...guest.peek32(guest.startInfo + 44), ...guest.peek32(guest.startInfo + 52)];
    return guest;
  }

  private constructor(ramBytes: number) {
    this.ram = new Uint8Array(ramBytes);
  }

  // ---- Memory -------------------------------------------------------------------------------------------------------------

  read(space: MemorySpace, address: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length).fill(0xff);
    for (let done = 0; done < length;) {
      const count = Math.min(length - done, 4096 - ((address + done) % 4096));
      const place = this.place(space, address + done);
      if (place !== null) bytes.set(place.memory.subarray(place.at, place.at + count), done);
      done += count;
    }
    return bytes;
  }

  private store(space: MemorySpace, address: number, bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length;) {
      const count = Math.min(bytes.length - done, 4096 - ((address + done) % 4096));
      const place = this.place(space, address + done);
      place?.memory.set(bytes.subarray(done, done + count), place.at);
      done += count;
    }
  }

  readLinear(): Uint8Array | null {
    return null;
  }

  /** Where a machine address (or an offset in monitor space) lies. */
  private place(space: MemorySpace, address: number): { memory: Uint8Array; at: number } | null {
    if (space === 'monitor') return address < this.monitorMemory.length ? { memory: this.monitorMemory, at: address } : null;
    const target = this.frames.get(Math.floor(address / 4096));
    if (target === undefined || target === null) return null;
    return { memory: target.space === 'guest' ? this.ram : this.monitorMemory, at: target.frame * 4096 + (address % 4096) };
  }

  /** 64-bit table entry at a machine address, as [low, high]. */
  entry(address: number): [number, number] {
    const view = new DataView(this.read('guest', address, 8).buffer);
    return [view.getUint32(0, true), view.getUint32(4, true)];
  }

  get root(): number {
    return Math.floor(this.registers.get('cr3')! / 4096);
  }

  /** PAE walk over the tables in memory. */
  walk(linear: number, root = this.root): { mfn: number; writable: boolean; entryAddress: number } | null {
    let table = root * 4096;
    let writable = true;
    for (const [level, shift] of [[3, 30], [2, 21], [1, 12]] as const) {
      const entryAddress = table + ((linear >>> shift) & (level === 3 ? 3 : 511)) * 8;
      const [low, high] = this.entry(entryAddress);
      if ((low & 1) === 0) return null;
      if (level !== 3) writable &&= (low & 2) !== 0;
      const mfn = (low >>> 12) + (high & 0x7fff_ffff) * 0x10_0000;
      if (level === 1) return { mfn, writable, entryAddress };
      table = mfn * 4096;
    }
    return null;
  }

  mfnOf(linear: number): number {
    const walk = this.walk(linear);
    if (walk === null) throw new Error(`0x${linear.toString(16)} is not mapped`);
    return walk.mfn;
  }

  /** The guest's own store, which paging must allow. */
  poke(linear: number, bytes: Uint8Array): void {
    for (const [index, byte] of bytes.entries()) {
      const walk = this.walk(linear + index);
      if (walk === null || !walk.writable) throw new Error(`the guest cannot write 0x${(linear + index).toString(16)}`);
      const { memory, at } = this.place('guest', walk.mfn * 4096 + ((linear + index) & 0xfff))!;
      memory[at] = byte;
    }
  }

  poke32(linear: number, ...words: number[]): void {
    this.poke(linear, new Uint8Array(Uint32Array.from(words).buffer));
  }

  peek(linear: number, length: number): Uint8Array {
    return Uint8Array.from({ length }, (_, index) => this.read('guest', this.mfnOf(linear + index) * 4096 + ((linear + index) & 0xfff), 1)[0]!);
  }

  peek32(linear: number, count = 1): number[] {
    return [...new Uint32Array(this.peek(linear, count * 4).buffer)];
  }

  // ---- Exits ----------------------------------------------------------------------------------------------------------------

  register(name: RegisterName): number {
    return this.registers.get(name) ?? 0;
  }

  set(name: RegisterName, value: number): void {
    this.registers.set(name, value >>> 0);
  }

  async exit(reason: ExitReason, change: Partial<Exit> = {}): Promise<ExitReply> {
    const exit = exitOf(reason, {
      now: this.now, instructionLength: 0, interruptible: true,
      registers: {
        general: Uint32Array.from(GENERAL.map((name) => this.register(name))), eip: this.register('eip'), eflags: this.register('eflags'),
        cr0: this.register('cr0'), cr2: this.register('cr2'), cr3: this.register('cr3'), cr4: this.register('cr4'), cpl: this.register('cpl'),
      },
      segments: Object.fromEntries(SEGMENT_NAMES.map((name) => [name, this.segments.get(name)!])),
      ...change,
    });
    const reply = await this.monitor.exit(exit);
    if (reply.disposition.kind === 'retire') this.set('eip', this.register('eip') + exit.instructionLength);
    this.apply(reply.effects);
    this.last = reply;
    return reply;
  }

  /** `int 0x82`; the result as a signed number. */
  async call(number: number, ...args: number[]): Promise<number> {
    this.set('eax', number);
    for (const [index, name] of (['ebx', 'ecx', 'edx', 'esi', 'edi', 'ebp'] as const).entries()) this.set(name, args[index] ?? 0);
    await this.exit(ExitReason.Hypercall, { instructionLength: 2 });
    return this.register('eax') | 0;
  }

  async trap(vector: number, errorCode: number | null = null, type: EventType = EventType.HardwareException): Promise<void> {
    await this.exit(ExitReason.DeprivilegedException, { event: { vector, type, errorCode }, instructionLength: type === EventType.HardwareException ? 0 : 2 });
  }

  apply(effects: readonly Effect[]): void {
    for (const effect of effects) {
      switch (effect.kind) {
        case 'memory': this.store(effect.space, effect.address, effect.bytes); break;
        case 'frame': this.frames.set(effect.frame, effect.target); break;
        case 'register': this.set(effect.register, effect.value); break;
        case 'segment': this.segments.set(effect.segment, { selector: effect.selector, base: effect.base, limit: effect.limit, rights: effect.rights }); break;
        case 'deadline': this.deadline = effect.at; break;
        case 'flush': this.flushes++; break;
        case 'activity':
          this.halted = effect.activity === 'halted';
          if (effect.activity === 'stopped') {
            this.stopped = effect.state;
            this.why = effect.why;
          }
          break;
        default:
      }
    }
  }
}
