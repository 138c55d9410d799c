import type { Effect } from '@ringside/machine';
import { Board, InterruptLines, InterruptRouter, type BusDevice } from '@ringside/platform';
import { AtaDisk } from './ata.js';
import type { BoardSpec } from './device-factory.js';
import { DEVICES } from './devices.js';
import { ParallelPort } from './parallel-port.js';
import { Uart16550 } from './uart-16550.js';

/** Build a machine's board from its spec: all devices, in their power-on state. */
export function createBoard(spec: BoardSpec): Board {
  const lines = new InterruptLines();
  const effects: Effect[] = [];
  const devices = DEVICES.map((build) => build({ spec, lines, effects })).filter((device): device is BusDevice => device !== null);
  return new Board({ devices, lines, effects, router: spec.composition === 'native' ? new InterruptRouter() : null });
}

/** The console of a board: queue input here, then kick the processor, which comes with an `input` cycle. */
export function consoleOf(board: Board): Uart16550 {
  const uart = board.devices.find((device) => device instanceof Uart16550);
  if (uart === undefined) throw new TypeError('The board has no console.');
  return uart;
}

/** The board's disk, or null: its `digest()` stands for the contents. */
export function diskOf(board: Board): AtaDisk | null {
  return board.devices.find((device) => device instanceof AtaDisk) ?? null;
}

/** The board's printer: `finish()` it when the machine ends, so that a document begun is not lost. */
export function printerOf(board: Board): ParallelPort {
  const printer = board.devices.find((device) => device instanceof ParallelPort);
  if (printer === undefined) throw new TypeError('The board has no printer.');
  return printer;
}
