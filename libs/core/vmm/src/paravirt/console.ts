import type { BusAccess } from '@ringside/x86';
import type { Transaction } from '../transaction.js';
import { PAGE_BYTES } from '../monitor-space.js';
import { ConsoleRing, Virq } from './abi.js';
import type { Domain } from './domain.js';

const { min } = Math;

/** The first serial port is Xen's, as with `console=com1`: registers of the 16550 at 0x3F8, interrupt line 4. */
const UART = { data: 0x3f8, interruptEnable: 0x3f9, fifoControl: 0x3fa, lineControl: 0x3fb, modemControl: 0x3fc } as const;
const UART_LINE = 1 << 4;
/** 8 bits, no parity; FIFOs on and empty; DTR, RTS and OUT2 (which lets the interrupt out); receiver interrupt. */
const UART_SETUP: readonly (readonly [port: number, value: number])[] = [
  [UART.lineControl, 0x03], [UART.fifoControl, 0x07], [UART.modemControl, 0x0b], [UART.interruptEnable, 0x01],
];

/**
 * The domain's console: its ring page and event channel at one end, Xen's serial port at the other. What people type, or a
 * script sends, comes in as the receiver's interrupt, so it works as on every other path.
 */
export class Console {
  private uartReady = false;
  /** The guest has used its ring: input goes there. Until then it waits in the UART for CONSOLEIO_read. */
  private ringUsed = false;

  /** `port`: the event channel that start_info names. `frame`: machine frame of the ring. */
  constructor(readonly port: number, private readonly frame: number) {}

  /** The guest notified the console: take what it wrote, and give it what waited for room. */
  async notified(domain: Domain, transaction: Transaction): Promise<void> {
    this.ringUsed = true;
    const base = this.frame * PAGE_BYTES;
    const indices = await this.indices(transaction);
    const waiting = min((indices.outProd - indices.outCons) >>> 0, ConsoleRing.outBytes);
    if (waiting === 0) return;
    const ring = await transaction.read('guest', base + ConsoleRing.out, ConsoleRing.outBytes);
    const bytes = Uint8Array.from({ length: waiting }, (_, index) => ring[(indices.outCons + index) % ConsoleRing.outBytes]!);
    transaction.write32('guest', base + ConsoleRing.out_cons, indices.outProd);
    await this.send(domain, transaction, bytes);
    await this.notify(domain, transaction);
  }

  /** Bytes to the serial port, as one string write. */
  async send(domain: Domain, transaction: Transaction, bytes: Uint8Array): Promise<void> {
    await this.prepare(domain, transaction);
    domain.noteBoard(transaction, await transaction.cycle('port', access(UART.data, bytes)));
  }

  /** Take in what the receiver holds, as far as the ring has room. */
  async receive(domain: Domain, transaction: Transaction): Promise<void> {
    if ((domain.lines & UART_LINE) === 0) return;
    if (!this.ringUsed) {
      await domain.raiseVirq(transaction, Virq.console);
      return;
    }
    const base = this.frame * PAGE_BYTES;
    const indices = await this.indices(transaction);
    let { inProd } = indices;
    while ((domain.lines & UART_LINE) !== 0 && (inProd - indices.inCons) >>> 0 < ConsoleRing.inBytes) {
      transaction.write('guest', base + ConsoleRing.in + (inProd % ConsoleRing.inBytes), await this.readByte(domain, transaction));
      inProd = (inProd + 1) >>> 0;
    }
    if (inProd === indices.inProd) return;
    transaction.write32('guest', base + ConsoleRing.in_prod, inProd);
    await this.notify(domain, transaction);
  }

  /** CONSOLEIO_read: up to `length` bytes that wait in the UART. */
  async take(domain: Domain, transaction: Transaction, length: number): Promise<Uint8Array> {
    await this.prepare(domain, transaction);
    const bytes: number[] = [];
    while ((domain.lines & UART_LINE) !== 0 && bytes.length < length) bytes.push((await this.readByte(domain, transaction))[0]!);
    return Uint8Array.from(bytes);
  }

  /** Program the UART, once: before the first byte goes out or comes in. */
  async prepare(domain: Domain, transaction: Transaction): Promise<void> {
    if (this.uartReady) return;
    this.uartReady = true;
    for (const [port, value] of UART_SETUP) domain.noteBoard(transaction, await transaction.cycle('port', access(port, Uint8Array.of(value))));
  }

  /** Unless the guest has closed its end. */
  private async notify(domain: Domain, transaction: Transaction): Promise<void> {
    if (domain.channels.get(this.port).kind === 'console') await domain.raisePort(transaction, this.port);
  }

  private async readByte(domain: Domain, transaction: Transaction): Promise<Uint8Array> {
    const reply = await transaction.cycle('port', { space: 'port', address: UART.data, size: 1, write: false, count: 1, data: new Uint8Array(0) });
    domain.noteBoard(transaction, reply);
    return reply.data;
  }

  private async indices(transaction: Transaction): Promise<{ inCons: number; inProd: number; outCons: number; outProd: number }> {
    const bytes = await transaction.read('guest', this.frame * PAGE_BYTES + ConsoleRing.in_cons, 16);
    const [inCons, inProd, outCons, outProd] = new Uint32Array(bytes.buffer) as unknown as [number, number, number, number];
    return { inCons, inProd, outCons, outProd };
  }
}

function access(port: number, bytes: Uint8Array): BusAccess {
  return { space: 'port', address: port, size: 1, write: true, count: bytes.length, data: bytes };
}
