import { Command, CommanderError } from 'commander';
import { commands } from './commands/index.js';
import { defaultDirectories, type Context } from './context.js';
import { Failure, messageOf } from './failure.js';
import { Terminal } from './terminal.js';

export function buildProgram(context: Context): Command {
  const program = new Command('ringside')
    .description('A hypervisor taken apart: processor, ring -1 and device model as services, every exit a message and a span.')
    .showHelpAfterError('(--help shows what there is)')
    .configureHelp({ sortSubcommands: false, showGlobalOptions: false })
    .addHelpText('after', `
Start with:
  ./ringside demo              one guest operation on each path, and what each path adds
  ./ringside compare --ops all every operation, as a table or with --json
  ./ringside test              all tests

NATS_URL uses a NATS server that is already running. OTEL_EXPORTER_OTLP_ENDPOINT sends traces to a collector.`);
  for (const create of commands) program.addCommand(create(context));
  return program;
}

/** Commander reports errors and help through exceptions, so that the exit code is ours and clean-up always runs. */
function prepare(command: Command, terminal: Terminal): void {
  command.exitOverride().configureOutput({
    writeOut: (text) => terminal.raw(text),
    writeErr: (text) => terminal.note(text.trimEnd()),
    outputError: (text, write) => write(text.replace(/^error: /, 'ringside: ')),
  });
  for (const child of command.commands) prepare(child, terminal);
}

/** Runs one command line and resolves to the process's exit code. Never rejects. */
export async function runCommandLine(args: readonly string[], overrides: Partial<Context> = {}): Promise<number> {
  const environment = overrides.environment ?? process.env;
  const terminal = overrides.terminal ?? new Terminal(process.stdout, process.stderr, environment);
  const context: Context = { terminal, environment, cleanups: [], exitCode: 0, ...defaultDirectories(environment), ...overrides };

  const cleanUp = async (): Promise<void> => {
    while (context.cleanups.length > 0) {
      await context.cleanups.pop()!().catch((error: unknown) => terminal.note(`ringside: while stopping: ${messageOf(error)}`));
    }
  };
  const signals = [['SIGINT', 130], ['SIGTERM', 143], ['SIGHUP', 129]] as const;
  const handlers = signals.map(([signal, code]) => {
    const handler = (): void => void cleanUp().then(() => process.exit(code));
    process.on(signal, handler);
    return () => process.off(signal, handler);
  });

  try {
    const program = buildProgram(context);
    prepare(program, terminal);
    if (args.length === 0) {
      program.outputHelp();
      return 2;
    }
    await program.parseAsync([...args], { from: 'user' });
    return context.exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    terminal.clearProgress();
    terminal.note(`ringside: ${messageOf(error)}`);
    if (!(error instanceof Failure) && environment['RINGSIDE_DEBUG'] && error instanceof Error) terminal.note(error.stack ?? '');
    return error instanceof Failure ? error.exitCode : 1;
  } finally {
    await cleanUp();
    for (const remove of handlers) remove();
  }
}
