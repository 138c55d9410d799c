import type { Effect, ScriptStep } from '@ringside/machine';
import type { BusDevice, InterruptLines } from '@ringside/platform';

/** Where the guest's console output goes. `offset`: how many bytes came before these since power-on, so a reader can ask again. */
export interface ConsoleSink { write(offset: number, bytes: Uint8Array): void }

/** A document that left the printer: number 0, 1, 2 … since power-on. */
export interface PrintedDocument { readonly number: number; readonly bytes: Uint8Array }
export interface DocumentSink { document(document: PrintedDocument): void }

/** What a board is built from. */
export interface BoardSpec {
  /** `native`: interrupt controllers and timer are on the board. `virtualized`: ring -1 has them. */
  readonly composition: 'native' | 'virtualized';
  /** Disk image, a multiple of 512 bytes; never written to. Null: no disk. */
  readonly disk: Uint8Array | null;
  /** Scripted console input (vm-spec.ts). */
  readonly script: readonly ScriptStep[];
  /** Guest RAM, bytes: the RTC's CMOS memory tells it. */
  readonly memoryBytes: number;
  /** Date and time at power-on, seconds since 1970 UTC. Always the same in a run that shall be repeated. */
  readonly epochSeconds: number;
  readonly console: ConsoleSink;
  readonly documents: DocumentSink;
}

/** What a device is built from: the spec, the board's lines, and where it puts changes of the machine itself. */
export interface DeviceContext {
  readonly spec: BoardSpec;
  readonly lines: InterruptLines;
  readonly effects: Effect[];
}

/** Builds a device, or null when the spec has none of it. One per device file, listed in devices.ts. */
export type DeviceFactory = (context: DeviceContext) => BusDevice | null;
