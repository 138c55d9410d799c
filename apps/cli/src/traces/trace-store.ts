import { mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { toJaegerFile, fromJaegerTrace, type JaegerFile } from './jaeger-file.js';
import type { Trace } from './trace.js';

/** Traces of earlier commands, a file each in the format that Jaeger's UI accepts; the newest are kept. */
export class TraceStore {
  private readonly directory: string;

  constructor(stateDirectory: string, private readonly keep = 200) {
    this.directory = join(stateDirectory, 'traces');
  }

  async save(trace: Trace): Promise<void> {
    await mkdir(this.directory, { recursive: true });
    await writeFile(this.path(trace.traceId), JSON.stringify({ ...toJaegerFile([trace]), label: trace.label }));
  }

  async load(traceId: string): Promise<Trace | null> {
    try {
      const file = JSON.parse(await readFile(this.path(traceId), 'utf8')) as JaegerFile & { label: string };
      const [trace] = file.data;
      return trace === undefined ? null : { ...fromJaegerTrace(trace), label: file.label };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT' || error instanceof SyntaxError) return null;
      throw error;
    }
  }

  /** The ids that begin with what a person typed. */
  async matching(prefix: string): Promise<string[]> {
    return (await this.files()).map((name) => name.slice(0, -'.json'.length)).filter((id) => id.startsWith(prefix));
  }

  async prune(): Promise<void> {
    const dated = await Promise.all((await this.files()).map(async (name) => ({ name, time: (await stat(join(this.directory, name))).mtimeMs })));
    for (const { name } of dated.sort((a, b) => b.time - a.time).slice(this.keep)) await rm(join(this.directory, name), { force: true });
  }

  private async files(): Promise<string[]> {
    try {
      return (await readdir(this.directory)).filter((name) => /^[0-9a-f]{32}\.json$/.test(name));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
      throw error;
    }
  }

  private path(traceId: string): string {
    return join(this.directory, `${traceId}.json`);
  }
}
