/**
 * ATA disk: primary channel, device 0, programmed I/O.
 * Reference: ATA/ATAPI-6 (T13 1410D rev. 3b): registers 7, commands 8, PIO protocols 9.5 and 9.6.
 *
 * A command keeps BSY for a time given below, then shows its result and asserts INTRQ; nothing else takes time. The
 * figures are those of a fast solid-state disk of the ATA era, so that waiting for it stays a small part of a run.
 */
import { cloneState, type AccessSize, type BusDevice, type InterruptLine, type StateValue } from '@ringside/platform';
import { geometryOf, identifyData, type Geometry } from './ata-identify.js';
import type { DeviceFactory } from './device-factory.js';
import { DiskImage, SECTOR_BYTES } from './disk-image.js';

/** ns from the command to the first sector of a read, from one sector (or block) to the next, and to take in a written one. */
export const READ_ACCESS_NS = 25_000;
export const NEXT_SECTOR_NS = 10_000;
export const WRITE_SECTOR_NS = 25_000;
/** Commands without data, and reset. */
export const NON_DATA_NS = 5_000;
export const RESET_NS = 100_000;

/** Command block register offsets from 1F0h (data is its own range). */
export const DATA = 0;
export const ERROR_FEATURES = 1;
export const SECTOR_COUNT = 2;
export const LBA_LOW = 3;
export const LBA_MID = 4;
export const LBA_HIGH = 5;
export const DEVICE = 6;
export const STATUS_COMMAND = 7;
/** Status register (7.15). */
export const STATUS_BSY = 0x80;
export const STATUS_DRDY = 0x40;
export const STATUS_DF = 0x20;
export const STATUS_DSC = 0x10;
export const STATUS_DRQ = 0x08;
export const STATUS_ERR = 0x01;
/** Error register (7.9). */
export const ERROR_ABRT = 0x04;
export const ERROR_IDNF = 0x10;
/** Device register (7.7): addresses are LBA; device 1 selected. */
export const DEVICE_LBA = 0x40;
export const DEVICE_1 = 0x10;
/** Device control register (7.8). */
export const CONTROL_NIEN = 0x02;
export const CONTROL_SRST = 0x04;

const COMMAND_BLOCK = 0x1f0;
const CONTROL_BLOCK = 0x3f6;
const ATA_IRQ = 14;
const HEADS = 16;
const SECTORS_PER_TRACK = 63;
export const MAX_MULTIPLE = 16;

/** What the drive is doing, and what happens when BSY ends. */
type Phase = 'idle' | 'read' | 'read-block' | 'write-block' | 'write' | 'done' | 'reset';

interface AtaState {
  features: number; error: number; sectorCount: number; lbaLow: number; lbaMid: number; lbaHigh: number; device: number; status: number; control: number;
  phase: Phase;
  /** When BSY ends, ns, or null. */
  completeAt: number | null;
  /** INTRQ, before nIEN. */
  intrq: boolean;
  /** Sectors of this command still to transfer, the next one's address, and sectors per DRQ block. */
  remaining: number; lba: number; block: number;
  buffer: Uint8Array; bufferAt: number; bufferEnd: number;
  /** Block size of READ and WRITE MULTIPLE; 0 until set. */
  multiple: number;
  heads: number; sectorsPerTrack: number;
  /** Error to report when `done` comes. */
  pendingError: number;
}

export class AtaDisk implements BusDevice {
  readonly id = 'ata0';
  readonly label = 'ATA disk (primary master)';
  readonly ports = [
    { from: COMMAND_BLOCK, to: COMMAND_BLOCK, width: 4, registers: ['data'] },
    { from: COMMAND_BLOCK + 1, to: COMMAND_BLOCK + 7, width: 1, registers: ['error/features', 'sector count', 'LBA low', 'LBA mid', 'LBA high', 'device', 'status/command'] },
    { from: CONTROL_BLOCK, to: CONTROL_BLOCK, width: 1, registers: ['alternate status/device control'] },
  ] as const;
  readonly mmio = [] as const;
  private state = AtaDisk.initial();

  constructor(private readonly line: InterruptLine, readonly disk: DiskImage) {}

  private static initial(): AtaState {
    return {
      features: 0, error: 0x01, sectorCount: 1, lbaLow: 1, lbaMid: 0, lbaHigh: 0, device: 0, status: STATUS_DRDY | STATUS_DSC, control: 0,
      phase: 'idle', completeAt: null, intrq: false, remaining: 0, lba: 0, block: 1,
      buffer: new Uint8Array(MAX_MULTIPLE * SECTOR_BYTES), bufferAt: 0, bufferEnd: 0, multiple: 0, heads: HEADS, sectorsPerTrack: SECTORS_PER_TRACK, pendingError: 0,
    };
  }

  /** 32 hex digits that stand for what is on the disk. */
  digest(): string {
    return this.disk.digest();
  }

  read(offset: number, size: AccessSize, now: number, range: number): number {
    this.advance(now);
    if (range === 0) return this.readData(size, now);
    return range === 2 ? this.alternateStatus() : this.readRegister(offset + 1);
  }

  write(offset: number, size: AccessSize, value: number, now: number, range: number): void {
    this.advance(now);
    if (range === 0) this.writeData(size, value, now);
    else if (range === 2) this.writeControl(value & 0xff, now);
    else this.writeRegister(offset + 1, value & 0xff, now);
  }

  advance(now: number): void {
    const { state } = this;
    while (state.completeAt !== null && state.completeAt <= now) {
      const at = state.completeAt;
      state.completeAt = null;
      state.status &= ~STATUS_BSY;
      this.complete(at);
    }
  }

  nextDeadline(): number {
    return this.state.completeAt ?? Infinity;
  }

  reset(): void {
    this.state = AtaDisk.initial();
    this.disk.reset();
    this.updateLine();
  }

  snapshot(): StateValue {
    return { registers: cloneState(this.state) as unknown as StateValue, disk: this.disk.snapshot() };
  }

  restore(state: StateValue): void {
    const parts = cloneState(state) as unknown as { registers: AtaState; disk: StateValue };
    this.state = parts.registers;
    this.disk.restore(parts.disk);
  }

  private get device1(): boolean {
    return (this.state.device & DEVICE_1) !== 0;
  }

  private readRegister(register: number): number {
    const { state } = this;
    switch (register) {
      case ERROR_FEATURES: return state.error;
      case SECTOR_COUNT: return state.sectorCount;
      case LBA_LOW: return state.lbaLow;
      case LBA_MID: return state.lbaMid;
      case LBA_HIGH: return state.lbaHigh;
      case DEVICE: return state.device | 0xa0; // Bits 7 and 5 are obsolete and read as 1.
      default: {
        if (!this.device1) this.setIntrq(false); // Reading status, unlike alternate status, clears the request.
        return this.alternateStatus();
      }
    }
  }

  /** Device 0 answers for the missing device 1 with 00h (9.16.1). */
  private alternateStatus(): number {
    return this.device1 ? 0 : this.state.status;
  }

  private writeRegister(register: number, value: number, now: number): void {
    const { state } = this;
    // "If BSY or DRQ is set, the result of a write is indeterminate": ignored here.
    if ((state.status & (STATUS_BSY | STATUS_DRQ)) !== 0) return;
    switch (register) {
      case ERROR_FEATURES: state.features = value; break;
      case SECTOR_COUNT: state.sectorCount = value; break;
      case LBA_LOW: state.lbaLow = value; break;
      case LBA_MID: state.lbaMid = value; break;
      case LBA_HIGH: state.lbaHigh = value; break;
      case DEVICE:
        state.device = value & 0x5f;
        this.updateLine();
        break;
      default: this.command(value, now);
    }
  }

  private writeControl(value: number, now: number): void {
    const { state } = this;
    const before = state.control;
    state.control = value & (CONTROL_NIEN | CONTROL_SRST);
    if ((value & CONTROL_SRST) !== 0) {
      state.status = STATUS_BSY;
      state.phase = 'reset';
      state.completeAt = null;
      this.setIntrq(false);
    } else if ((before & CONTROL_SRST) !== 0) {
      this.busy('reset', now + RESET_NS);
    }
    this.updateLine();
  }

  /** 8.x: what each command does first. */
  private command(value: number, now: number): void {
    const { state } = this;
    if (this.device1 && value !== 0x90) return; // No such device.
    this.setIntrq(false);
    state.error = 0;
    state.status = STATUS_DRDY | STATUS_DSC;
    state.pendingError = 0;
    switch (value) {
      case 0x20: case 0x21: this.beginRead(1, now); break; // READ SECTOR(S)
      case 0xc4: this.beginRead(state.multiple, now); break; // READ MULTIPLE
      case 0x30: case 0x31: this.beginWrite(1, now); break; // WRITE SECTOR(S)
      case 0xc5: this.beginWrite(state.multiple, now); break; // WRITE MULTIPLE
      case 0x40: case 0x41: this.verify(now); break; // READ VERIFY SECTOR(S)
      case 0xec: this.identify(now); break; // IDENTIFY DEVICE
      case 0x90: // EXECUTE DEVICE DIAGNOSTIC
        this.signature();
        this.busy('done', now + NON_DATA_NS);
        break;
      case 0x91: this.initializeParameters(now); break; // INITIALIZE DEVICE PARAMETERS
      case 0xc6: this.setMultiple(now); break; // SET MULTIPLE MODE
      case 0xef: this.setFeatures(now); break; // SET FEATURES
      case 0xe5: // CHECK POWER MODE: active.
        state.sectorCount = 0xff;
        this.finish(0, now);
        break;
      case 0x70: // SEEK
      case 0xe0: case 0xe1: case 0xe2: case 0xe3: // STANDBY IMMEDIATE, IDLE IMMEDIATE, STANDBY, IDLE
      case 0xe7: // FLUSH CACHE: nothing is held back.
        this.finish(0, now);
        break;
      default:
        if (value >> 4 === 1) this.finish(0, now); // RECALIBRATE
        else this.finish(ERROR_ABRT, now); // Among them NOP and, as for every device without packets, DEVICE RESET.
    }
  }

  private busy(phase: Phase, until: number): void {
    this.state.phase = phase;
    this.state.completeAt = until;
    this.state.status = (this.state.status & ~STATUS_DRQ) | STATUS_BSY;
  }

  /** End the command after a while: error 0 for success. */
  private finish(error: number, now: number): void {
    this.state.pendingError = error;
    this.busy('done', now + NON_DATA_NS);
  }

  private beginRead(block: number, now: number): void {
    if (!this.takeAddress(block, now)) return;
    this.busy('read', now + READ_ACCESS_NS);
  }

  private beginWrite(block: number, now: number): void {
    if (!this.takeAddress(block, now)) return;
    this.requestBlock(); // The first block is asked for without an interrupt (9.6).
  }

  /** Address and count from the registers. False: the command has been ended with an error. */
  private takeAddress(block: number, now: number): boolean {
    const { state } = this;
    if (block === 0) { // READ or WRITE MULTIPLE before SET MULTIPLE MODE.
      this.finish(ERROR_ABRT, now);
      return false;
    }
    const lba = this.registersToLba();
    const count = state.sectorCount === 0 ? 256 : state.sectorCount;
    if (lba === null || lba >= this.disk.sectors) {
      this.finish(ERROR_IDNF, now);
      return false;
    }
    state.lba = lba;
    state.remaining = count;
    state.block = block;
    return true;
  }

  private registersToLba(): number | null {
    const { state } = this;
    if ((state.device & DEVICE_LBA) !== 0) return ((state.device & 0x0f) << 24) | (state.lbaHigh << 16) | (state.lbaMid << 8) | state.lbaLow;
    const { heads, sectorsPerTrack } = state;
    const cylinder = (state.lbaHigh << 8) | state.lbaMid;
    const head = state.device & 0x0f;
    const sector = state.lbaLow;
    if (head >= heads || sector === 0 || sector > sectorsPerTrack) return null;
    return (cylinder * heads + head) * sectorsPerTrack + sector - 1;
  }

  /** The registers show the address of the last sector transferred, or of the one that failed (8.27.5, 8.27.6). */
  private showAddress(lba: number): void {
    const { state } = this;
    if ((state.device & DEVICE_LBA) !== 0) {
      state.lbaLow = lba & 0xff;
      state.lbaMid = (lba >> 8) & 0xff;
      state.lbaHigh = (lba >> 16) & 0xff;
      state.device = (state.device & 0xf0) | ((lba >> 24) & 0x0f);
      return;
    }
    const track = Math.floor(lba / state.sectorsPerTrack);
    const cylinder = Math.floor(track / state.heads);
    state.lbaLow = (lba % state.sectorsPerTrack) + 1;
    state.device = (state.device & 0xf0) | (track % state.heads);
    state.lbaMid = cylinder & 0xff;
    state.lbaHigh = (cylinder >> 8) & 0xff;
  }

  private currentGeometry(): Geometry {
    return geometryOf(this.disk.sectors, this.state.heads, this.state.sectorsPerTrack);
  }

  private blockSectors(): number {
    return Math.min(this.state.block, this.state.remaining);
  }

  /** BSY has ended at `at`. */
  private complete(at: number): void {
    const { state } = this;
    switch (state.phase) {
      case 'read': this.readBlock(); break;
      case 'write': this.writeBlock(); break;
      case 'reset':
        this.signature();
        state.status = STATUS_DRDY | STATUS_DSC;
        state.phase = 'idle';
        state.multiple = 0;
        break;
      case 'done':
        state.phase = 'idle';
        if (state.pendingError !== 0) {
          state.error = state.pendingError;
          state.status |= STATUS_ERR;
        }
        this.setIntrq(true);
        break;
      case 'read-block': // IDENTIFY DEVICE: its data is in the buffer.
        this.offerBuffer();
        break;
      case 'idle':
      case 'write-block':
        throw new Error(`ATA: BSY ended at ${at} ns in phase ${state.phase}`);
      default: { const unreachable: never = state.phase; return unreachable; }
    }
  }

  private readBlock(): void {
    const { state } = this;
    const sectors = this.blockSectors();
    if (state.lba + sectors > this.disk.sectors) {
      this.fail(ERROR_IDNF);
      return;
    }
    for (let index = 0; index < sectors; index++) this.disk.read(state.lba + index, state.buffer, index * SECTOR_BYTES);
    state.bufferEnd = sectors * SECTOR_BYTES;
    this.transferred(sectors);
    this.offerBuffer();
  }

  private offerBuffer(): void {
    const { state } = this;
    state.bufferAt = 0;
    state.phase = 'read-block';
    state.status |= STATUS_DRQ;
    this.setIntrq(true);
  }

  private requestBlock(): void {
    const { state } = this;
    state.bufferAt = 0;
    state.bufferEnd = this.blockSectors() * SECTOR_BYTES;
    state.phase = 'write-block';
    state.status |= STATUS_DRQ;
  }

  private writeBlock(): void {
    const { state } = this;
    const sectors = this.blockSectors();
    if (state.lba + sectors > this.disk.sectors) {
      this.fail(ERROR_IDNF);
      return;
    }
    for (let index = 0; index < sectors; index++) this.disk.write(state.lba + index, state.buffer, index * SECTOR_BYTES);
    this.transferred(sectors);
    if (state.remaining > 0) this.requestBlock();
    else state.phase = 'idle';
    this.setIntrq(true);
  }

  private transferred(sectors: number): void {
    const { state } = this;
    this.showAddress(state.lba + sectors - 1);
    state.lba += sectors;
    state.remaining -= sectors;
    state.sectorCount = state.remaining & 0xff;
  }

  /** End a data command at the sector that does not exist; those before it in the block count as not transferred. */
  private fail(error: number): void {
    const { state } = this;
    this.showAddress(Math.min(state.lba, this.disk.sectors));
    state.error = error;
    state.status = STATUS_DRDY | STATUS_DSC | STATUS_ERR;
    state.phase = 'idle';
    this.setIntrq(true);
  }

  private readData(size: AccessSize, now: number): number {
    const { state } = this;
    if (state.phase !== 'read-block' || (state.status & STATUS_DRQ) === 0 || this.device1) return size === 4 ? 0xffff_ffff : (1 << (size * 8)) - 1;
    let value = 0;
    for (let byte = 0; byte < size; byte++) value |= (state.bufferAt < state.bufferEnd ? state.buffer[state.bufferAt++]! : 0xff) << (byte * 8);
    if (state.bufferAt >= state.bufferEnd) {
      state.status &= ~STATUS_DRQ;
      if (state.remaining > 0) this.busy('read', now + NEXT_SECTOR_NS);
      else state.phase = 'idle';
    }
    return value >>> 0;
  }

  private writeData(size: AccessSize, value: number, now: number): void {
    const { state } = this;
    if (state.phase !== 'write-block' || this.device1) return;
    for (let byte = 0; byte < size && state.bufferAt < state.bufferEnd; byte++) state.buffer[state.bufferAt++] = value >>> (byte * 8);
    if (state.bufferAt >= state.bufferEnd) this.busy('write', now + WRITE_SECTOR_NS);
  }

  private identify(now: number): void {
    const { state } = this;
    const standard = geometryOf(this.disk.sectors, HEADS, SECTORS_PER_TRACK);
    state.buffer.set(identifyData(this.disk.sectors, standard, this.currentGeometry(), state.multiple, MAX_MULTIPLE));
    state.bufferEnd = SECTOR_BYTES;
    state.remaining = 0;
    this.busy('read-block', now + READ_ACCESS_NS);
  }

  private verify(now: number): void {
    const { state } = this;
    if (!this.takeAddress(1, now)) return;
    const there = Math.min(state.remaining, this.disk.sectors - state.lba);
    const missing = there < state.remaining;
    this.transferred(there);
    if (missing) this.showAddress(this.disk.sectors);
    this.finish(missing ? ERROR_IDNF : 0, now);
  }

  private initializeParameters(now: number): void {
    const { state } = this;
    const heads = (state.device & 0x0f) + 1;
    const sectorsPerTrack = state.sectorCount;
    if (sectorsPerTrack === 0) {
      this.finish(ERROR_ABRT, now);
      return;
    }
    state.heads = heads;
    state.sectorsPerTrack = sectorsPerTrack;
    this.finish(0, now);
  }

  private setMultiple(now: number): void {
    const { state } = this;
    const sectors = state.sectorCount;
    const powerOfTwo = (sectors & (sectors - 1)) === 0;
    if (sectors > MAX_MULTIPLE || !powerOfTwo) {
      state.multiple = 0;
      this.finish(ERROR_ABRT, now);
      return;
    }
    state.multiple = sectors;
    this.finish(0, now);
  }

  /** Transfer mode: default PIO or PIO 0–4 (8.46.9). Caches and read-ahead can be switched, which changes nothing here. */
  private setFeatures(now: number): void {
    const { features, sectorCount } = this.state;
    const transferMode = features === 0x03 && (sectorCount <= 0x01 || (sectorCount >= 0x08 && sectorCount <= 0x0c));
    const accepted = transferMode || [0x02, 0x82, 0x55, 0xaa, 0x66, 0xcc].includes(features);
    this.finish(accepted ? 0 : ERROR_ABRT, now);
  }

  /** What a device without packets shows after reset and diagnostics (9.12): no error, device 1 absent. */
  private signature(): void {
    Object.assign(this.state, { error: 0x01, sectorCount: 1, lbaLow: 1, lbaMid: 0, lbaHigh: 0, device: 0 });
  }

  private setIntrq(high: boolean): void {
    this.state.intrq = high;
    this.updateLine();
  }

  /** INTRQ is driven while this device is selected and nIEN is 0. */
  private updateLine(): void {
    const { state } = this;
    this.line.set(state.intrq && !this.device1 && (state.control & CONTROL_NIEN) === 0);
  }
}

export const ataDisk: DeviceFactory = ({ spec, lines }) => (spec.disk === null ? null : new AtaDisk(lines.line(ATA_IRQ), new DiskImage(spec.disk)));
