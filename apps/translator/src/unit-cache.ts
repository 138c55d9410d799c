import type { TranslationRequest, TranslationUnit } from '@ringside/translation';

/** The units that were asked for last, up to so many bytes of them and of the code that they were made of. */
export class UnitCache {
  /** In the order of their last use. */
  private readonly units = new Map<string, TranslationUnit>();
  private bytes = 0;

  constructor(private readonly limit: number) {}

  find(request: TranslationRequest): TranslationUnit | undefined {
    const key = keyOf(request);
    const unit = this.units.get(key);
    if (unit === undefined) return undefined;
    this.units.delete(key);
    this.units.set(key, unit);
    return unit;
  }

  keep(request: TranslationRequest, unit: TranslationUnit): void {
    const key = keyOf(request);
    this.units.set(key, unit);
    this.bytes += sizeOf(key, unit);
    for (const [oldest, dropped] of this.units) {
      if (this.bytes <= this.limit) return;
      this.units.delete(oldest);
      this.bytes -= sizeOf(oldest, dropped);
    }
  }

  get size(): number {
    return this.units.size;
  }
}

/** All that a translation depends on. */
function keyOf({ bytes, eip, pageOffset, mode, layout }: TranslationRequest): string {
  return `${eip} ${pageOffset} ${mode} ${layout} ${Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1')}`;
}

const sizeOf = (key: string, { guest, code, sideTable }: TranslationUnit): number => key.length + guest.length + code.length + sideTable.byteLength;
