import { ataDisk } from './ata.js';
import { debugPort } from './debug-port.js';
import type { DeviceFactory } from './device-factory.js';
import { parallelPort } from './parallel-port.js';
import { postPort } from './post-port.js';
import { rtcCmos } from './rtc-cmos.js';
import { shutdownPort } from './shutdown-port.js';
import { uart16550 } from './uart-16550.js';

/** Every device of the board but the interrupt controllers and the timer. One device: one file and one line here. */
export const DEVICES: readonly DeviceFactory[] = [
  uart16550,
  ataDisk,
  parallelPort,
  rtcCmos,
  debugPort,
  postPort,
  shutdownPort,
];
