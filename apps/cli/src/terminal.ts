import type { Writable } from 'node:stream';

const codes = { bold: [1, 22], dim: [2, 22], red: [31, 39], green: [32, 39], yellow: [33, 39], blue: [34, 39], magenta: [35, 39], cyan: [36, 39] } as const;
export type Style = keyof typeof codes;

interface OutputStream extends Writable { isTTY?: boolean; columns?: number }

/** Where a command writes: results to `out`, progress and remarks to `err`. Colour on a terminal, or with FORCE_COLOR; never with NO_COLOR. */
export class Terminal {
  readonly colour: boolean;
  readonly columns: number;
  private progressShown = false;
  private lastProgress = '';

  constructor(private readonly stdout: OutputStream, private readonly stderr: OutputStream, environment: Record<string, string | undefined>) {
    const forced = environment['FORCE_COLOR'] !== undefined && environment['FORCE_COLOR'] !== '0';
    this.colour = !environment['NO_COLOR'] && (forced || (stdout.isTTY === true && environment['TERM'] !== 'dumb'));
    this.columns = stdout.columns ?? (Number(environment['COLUMNS']) || 100);
  }

  get interactive(): boolean {
    return this.stdout.isTTY === true;
  }

  out(text = ''): void {
    this.clearProgress();
    this.stdout.write(`${text}\n`);
  }

  raw(bytes: string | Uint8Array): void {
    this.clearProgress();
    this.stdout.write(bytes);
  }

  json(value: unknown): void {
    this.out(JSON.stringify(value, null, 2));
  }

  note(text: string): void {
    this.clearProgress();
    this.stderr.write(`${text}\n`);
  }

  /** What long work is doing now: one line that the next one replaces on a terminal, a line each elsewhere. */
  progress(text: string): void {
    if (this.stderr.isTTY !== true) {
      if (text !== this.lastProgress) this.stderr.write(`${text}\n`);
      this.lastProgress = text;
      return;
    }
    this.clearProgress();
    this.stderr.write(text.slice(0, (this.stderr.columns ?? 80) - 1));
    this.progressShown = true;
  }

  clearProgress(): void {
    if (!this.progressShown) return;
    this.stderr.write('\r\u001b[K');
    this.progressShown = false;
  }

  paint(text: string, ...styles: Style[]): string {
    if (!this.colour) return text;
    return styles.reduce((painted, style) => `\u001b[${codes[style][0]}m${painted}\u001b[${codes[style][1]}m`, text);
  }
}
