/**
 * The 16 ISA interrupt lines as the devices of one board drive them. Levels, and which lines rose since the last look:
 * a line may rise and fall within one access, so levels alone would lose an edge.
 */
export class InterruptLines {
  /** Bit n: IRQ n is high. */
  levels = 0;
  private rose = 0;

  /** The line that a device drives. */
  line(irq: number): InterruptLine {
    return new InterruptLine(this, 1 << irq);
  }

  drive(mask: number, high: boolean): void {
    if (high) {
      this.rose |= mask & ~this.levels;
      this.levels |= mask;
    } else {
      this.levels &= ~mask;
    }
  }

  /** Lines that rose since the last call. */
  takeRose(): number {
    const { rose } = this;
    this.rose = 0;
    return rose;
  }

  reset(): void {
    this.levels = 0;
    this.rose = 0;
  }
}

export class InterruptLine {
  constructor(private readonly lines: InterruptLines, private readonly mask: number) {}

  set(high: boolean): void {
    this.lines.drive(this.mask, high);
  }
}
