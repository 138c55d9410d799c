import { Command } from 'commander';
import { modelledTable } from '@ringside/machine';
import { mkdir, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { compare } from '../compare/compare.js';
import { COMPARED, parseOperations } from '../compare/operations.js';
import { perOperation, total, type OperationResult } from '../compare/result.js';
import { choicesFor, emptyOf, sameSetting } from '../compare/settings.js';
import type { PathRun } from '../compare/run.js';
import type { Context } from '../context.js';
import { usageFailure } from '../failure.js';
import { renderCycles } from '../render/cycles.js';
import { renderComparison } from '../render/comparison.js';
import { duration, grouped } from '../render/units.js';
import { renderWaterfall } from '../render/waterfall.js';
import { openSession } from '../session/connect.js';
import type { ControlClient } from '../session/control-client.js';
import { saveDocuments, type SavedDocument } from '../session/documents.js';
import { BUILT_PATHS, CLOCK_HELP, parseClock, type BuiltPath } from '../session/vm-spec.js';
import type { Terminal } from '../terminal.js';
import { toJaegerFile } from '../traces/jaeger-file.js';
import { TraceStore } from '../traces/trace-store.js';
import type { Trace } from '../traces/trace.js';
import { ringletShell } from './compare.js';
import { positiveInteger } from './options.js';

const about: Record<BuiltPath, string> = {
  native: 'No hypervisor. The kernel runs in ring 0; every port access is a bus cycle straight to the board.',
  'trap-and-emulate': 'The unmodified kernel in ring 1, deprivileged: what is privileged traps and is emulated. Sensitive instructions that do not trap mislead it: why x86 was not virtualizable.',
  paravirt: 'The kernel knows that it is a guest. It runs in ring 1 and asks by hypercall (int 0x82, Xen\'s interface) for what only ring 0 may do.',
  'binary-translation': 'The unmodified kernel again, but its code is translated before it runs, in ring 1: what is privileged or sensitive is rewritten or calls ring -1. Applications run as they are.',
  'hardware-assisted': 'The same unmodified kernel in ring 0, but in non-root mode: what ring -1 asked the processor to leave for becomes a VM exit.',
};

const SHADOW = 'The same on the first generation of that hardware, without nested paging: ring -1 keeps shadow page tables, so page faults and CR3 loads exit.';

/** The operation whose trace the story shows: small enough for a terminal, and it meets ring -1 and the device model. */
const FOLLOWED = 'in on hardware-assisted';

export function demoCommand(context: Context): Command {
  const { terminal } = context;
  return new Command('demo')
    .description('a tour: boot one guest on each path, run the same operations, see what each path adds')
    .option('--repeat <n>', 'repetitions of each operation', positiveInteger, 5)
    .option('--clock <clock>', `${CLOCK_HELP}, and adds a table of cycles`, 'virtual')
    .action(async (options: { repeat: number; clock: string }) => {
      const begun = Date.now();
      const clock = parseClock(options.clock);
      if (clock === 'real') throw usageFailure('The demo counts what is the same on every run: not under the real clock.');
      const table = modelledTable(clock);
      heading(terminal, 'What starts');
      const { client, session } = await openSession(context);
      for (const { name, pid, port } of session?.processes ?? []) terminal.out(`  ${name.padEnd(13)} process ${pid}, port ${port}`);
      if (session === null) terminal.out(`  the services at ${client.url}`);
      terminal.out(`
A machine taken apart: guest-cpu executes instructions, hypervisor is ring -1, device-model is the
board, translator rewrites code for binary translation. They share nothing; every exit and every port access between them is a message over NATS.
The guest is Ringlet, a small teaching kernel: real 32-bit x86 machine code.`);

      const documents = new Map<string, SavedDocument[]>();
      const documentDirectory = join(context.stateDirectory, 'documents');
      const { comparison, traces } = await compare(client, {
        guestName: 'ringlet', guest: 'ringlet', shell: ringletShell, choices: choicesFor(BUILT_PATHS, [], [], clock), operations: parseOperations(['all']),
        repetitions: options.repeat, clock, timeoutMs: 300_000, store: new TraceStore(context.stateDirectory), progress: (text) => terminal.progress(text), warmUp: true,
        pathDone: (name, run) => tellPath(terminal, run, documents.get(name) ?? []),
        whileVmExists: async (name, path, vmId) => {
          await showConsole(terminal, client, name, path, vmId);
          documents.set(name, (await saveDocuments(client, vmId, documentDirectory, name.replace(', ', '-'))).slice(-1));
        },
      });

      heading(terminal, `One operation, ${options.repeat} times on each path`);
      for (const line of renderComparison(comparison, terminal, 'compact')) terminal.out(line);
      terminal.out(`
One repetition each, with the measuring loop taken off. Counts are exact and the same on every run and
every computer. Times are this system's: a message costs far more than an exit on silicon does.`);
      if (table !== null) for (const line of renderCycles(comparison, table, terminal)) terminal.out(line);

      heading(terminal, 'What to look at');
      for (const line of findings(comparison.results)) terminal.out(`  • ${line}`);
      const pages = [...documents].flatMap(([name, [document]]) => document === undefined ? [] : [{ name, document }]);
      if (pages.length > 0) {
        const same = pages.every(({ document }) => Buffer.compare(document.bytes, pages[0]!.document.bytes) === 0);
        terminal.out(same ? `  • print: the same document on every path, ${shown(pages[0]!.document.path)}.` : `  • print: the documents DIFFER: ${pages.map(({ document }) => shown(document.path)).join(', ')}`);
      }

      const followed = traces.find(({ label }) => label.startsWith(FOLLOWED));
      if (followed !== undefined) {
        heading(terminal, `One trace: ${followed.label}`);
        for (const line of renderWaterfall(followed, terminal, 16)) terminal.out(line);
      }
      heading(terminal, 'Where to go on');
      await nextSteps(context, traces, followed);
      terminal.out(`\nEverything is stopped again; it took ${duration((Date.now() - begun) * 1e6)}.`);
    });
}

function heading(terminal: Terminal, text: string): void {
  terminal.out();
  terminal.out(terminal.paint(`━━ ${text} ${'━'.repeat(Math.max(4, Math.min(96, terminal.columns) - text.length - 4))}`, 'bold', 'blue'));
}

const shown = (path: string): string => relative(process.cwd(), path) || path;

/** The guest's own words while it booted. */
async function showConsole(terminal: Terminal, client: ControlClient, name: string, path: BuiltPath, vmId: string): Promise<void> {
  heading(terminal, name);
  terminal.out(name.endsWith(', shadow') ? SHADOW : about[path]);
  terminal.out();
  const { bytes } = await client.fetchConsole(vmId, { offset: 0, maxBytes: 4_096 });
  const text = Buffer.from(bytes).toString('latin1').replace(/\r/g, '');
  const boot = text.split(ringletShell.prompt)[0]!.split('\n').filter((line) => line.trim() !== '');
  for (const line of boot.slice(0, 8)) terminal.out(terminal.paint(`  │ ${line.replace(/[^\x20-\x7e]/g, '')}`, 'dim'));
}

function tellPath(terminal: Terminal, { results, record }: PathRun, documents: readonly SavedDocument[]): void {
  const boot = results.find(({ operation }) => operation === 'boot');
  if (boot !== undefined && boot.status !== 'unsupported') {
    const exits = total(boot.exits);
    terminal.out(`\n  Boot: ${grouped(boot.retired)} instructions, ${exits === 0 ? 'no exits' : `${grouped(exits)} exits (${leading(boot.exits)})`}, ${grouped(total(boot.messages))} messages, ${duration(boot.wall.totalNs)}.`);
  }
  const done = results.filter(({ status, operation }) => status !== 'unsupported' && operation !== 'empty' && operation !== 'boot');
  terminal.out(`  Then at its prompt: ${done.length} of ${COMPARED.length - 1} operations${documents.length > 0 ? ', a page printed' : ''}, halt. The machine is ${record.state}: ${record.why.replace(/\.$/, '')}.`);
  const misled = results.find(({ status }) => status === 'misled');
  if (misled !== undefined) terminal.out(`  It was misled: ${misled.reason}.`);
}

const leading = (exits: Readonly<Record<string, number>>): string =>
  Object.entries(exits).sort(([, a], [, b]) => b - a).slice(0, 3).map(([reason, count]) => `${grouped(count)} ${reason}`).join(', ');

/** Sentences out of the counts: nothing here is known beforehand. */
export function findings(results: readonly OperationResult[]): string[] {
  const one = (result: OperationResult): ReturnType<typeof perOperation> => perOperation(result, emptyOf(result, results));
  /** Of a path that ran with more than one mmu the first. */
  const at = (operation: string, path: BuiltPath): ReturnType<typeof perOperation> | null => {
    const result = results.find((found) => found.operation === operation && found.path === path && found.status !== 'unsupported');
    return result === undefined ? null : one(result);
  };
  const lines: string[] = [];
  const ran = results.filter((result, index) => results.findIndex((other) => sameSetting(other, result)) === index);
  const everywhere = (operation: string, holds: (result: OperationResult) => boolean): boolean =>
    ran.every((setting) => results.some((result) => result.operation === operation && sameSetting(result, setting) && result.status !== 'unsupported' && holds(result)));
  const free = COMPARED.filter(({ name }) => name !== 'boot' && everywhere(name, (result) => one(result).exitTotal === 0)).map(({ name }) => name);
  const rewritten = free.flatMap((name) => {
    const { executed, retired } = at(name, 'binary-translation') ?? { executed: 0, retired: 0 };
    return executed > retired ? [`${name} executes about ${grouped(Math.round(executed))} instructions for ${grouped(retired)}`] : [];
  });
  if (free.length > 0) lines.push(`${free.join(', ')}: no exit on any path. What is not privileged costs nothing extra${rewritten.length === 0 ? '' : `, except under binary translation: ${rewritten.join(', ')}`}.`);
  const pte = at('pte-modify', 'paravirt');
  const batch = at('pte-modify-batch', 'paravirt');
  const nested = at('pte-modify', 'hardware-assisted');
  if (pte !== null && batch !== null) lines.push(`pte-modify: paravirt asks ring -1 (${counted(pte.hypercalls, 'hypercall')}); 32 in one batch take ${counted(batch.hypercalls, 'hypercall')}${nested?.exitTotal === 0 ? '. With nested paging they are the guest\'s own: no exit' : ''}.`);
  const shadowed = results.find(({ operation, path, mmu, status }) => operation === 'pte-modify' && path === 'hardware-assisted' && mmu === 'shadow' && status !== 'unsupported');
  if (shadowed !== undefined && nested !== null) lines.push(`hardware-assisted: without nested paging pte-modify takes ${counted(one(shadowed).exitTotal, 'exit')}, with it ${counted(nested.exitTotal, 'exit')}.`);
  const translated = results.find(({ operation, translation }) => operation === 'boot' && translation !== null);
  if (translated !== undefined) {
    const { units, guestBytes, hostBytes } = translated.translation!;
    lines.push(`binary-translation: to boot, ${grouped(units)} units were translated, ${grouped(guestBytes)} bytes of the guest's code into ${grouped(hostBytes)}; later they are only executed.`);
  }
  const fault = at('page-fault', 'paravirt');
  const faultAssisted = at('page-fault', 'hardware-assisted');
  if (fault !== null && faultAssisted !== null) lines.push(`page-fault: ${counted(fault.exitTotal, 'exit')} on paravirt, ${counted(faultAssisted.exitTotal, 'exit')} on hardware-assisted.`);
  const print = at('print', 'hardware-assisted');
  const printNative = at('print', 'native');
  const printParavirt = at('print', 'paravirt');
  if (print !== null && printNative !== null) lines.push(`print: ${counted(print.exitTotal, 'exit')} and ${counted(print.messages, 'message')} a page with hardware assistance, ${counted(printNative.messages, 'message')} natively${printParavirt === null ? '' : `, ${counted(printParavirt.exitTotal, 'exit')} on paravirt`}.`);
  return lines;
}

const counted = (count: number, noun: string): string => `${count === 0 ? 'no' : grouped(count)} ${noun}${count === 1 ? '' : 's'}`;

async function nextSteps({ terminal, stateDirectory, environment }: Context, traces: readonly Trace[], followed: Trace | undefined): Promise<void> {
  if (traces.length > 0) {
    // Jaeger's page draws small traces at once; the long ones are kept beside.
    const small = traces.filter(({ spans }) => spans.length <= 300);
    const file = join(stateDirectory, 'demo-traces.json');
    await mkdir(stateDirectory, { recursive: true });
    await writeFile(file, JSON.stringify(toJaegerFile(small)));
    terminal.out(`  Traces: ${traces.length} are kept. ./ringside trace ${(followed ?? traces[0]!).traceId.slice(0, 8)} shows one here; ${shown(file)} can be uploaded to Jaeger's UI.`);
  }
  const endpoint = environment['OTEL_EXPORTER_OTLP_ENDPOINT'];
  terminal.out(endpoint ? `  The services sent the same spans to ${endpoint}.` : '  With OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318 the services send the same spans to a Jaeger that runs (docs/tracing.md).');
  terminal.out('  ./ringside compare --list     what each operation is, byte for byte');
  terminal.out('  ./ringside up                 keep the services running, then: ./ringside vm create --start, ./ringside vm console ringlet-1');
}
