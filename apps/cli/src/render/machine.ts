import type { MachineStatistics } from '@ringside/machine';
import type { DisassembledLine, RegistersView, VmRecord } from '@ringside/protocol';
import { misledSentence } from '../compare/result.js';
import type { Style, Terminal } from '../terminal.js';
import { renderTable } from './table.js';
import { duration, grouped, hex32 } from './units.js';

const stateStyles: Record<string, Style> = { running: 'green', halted: 'cyan', paused: 'yellow', created: 'dim', shutdown: 'dim', stopped: 'dim' };
/** A state that nobody asked for is red. */
export const stateStyle = (state: string): Style => stateStyles[state] ?? 'red';

export function renderVmList(records: readonly VmRecord[], terminal: Terminal): string[] {
  return renderTable(
    [{ title: 'VM' }, { title: 'STATE' }, { title: 'PATH' }, { title: 'MMU' }, { title: 'GUEST' }, { title: 'MEMORY', align: 'right' }, { title: 'CLOCK' }, { title: 'RETIRED', align: 'right' }],
    records.map(({ spec, state, progress }) => [
      spec.id, { text: state, style: stateStyle(state) }, spec.path, spec.mmu, shortImage(spec.guest), `${spec.memoryMiB} MiB`, spec.clock,
      progress === null ? '–' : grouped(progress.retired),
    ]),
    terminal,
  );
}

const shortImage = (reference: string): string => reference.startsWith('sha256:') ? `${reference.slice(0, 7 + 12)}…` : reference;

/** `misled`, `translation`: from its statistics, where they can be had. */
export function renderVm(record: VmRecord, terminal: Terminal, { misled = null, translation = null }: Pick<MachineStatistics, 'misled' | 'translation'> = {}): string[] {
  const { spec, state, why, progress, controls, epoch } = record;
  const rows: [string, string][] = [
    ['state', `${terminal.paint(state, stateStyle(state))}: ${why}`],
    ['path', `${spec.path}, mmu ${spec.mmu}, kernel in ring ${spec.guestKernelRing}`],
    ['guest', `${spec.guest}${spec.commandLine === '' ? '' : `, command line "${spec.commandLine}"`}`],
    ['disk', spec.disk ?? 'none'],
    ['memory', `${spec.memoryMiB} MiB`],
    ['clock', spec.clock],
    ['epoch', String(epoch)],
  ];
  if (spec.grantedPorts.length > 0) rows.push(['granted ports', spec.grantedPorts.map(({ from, to }) => `${hex(from)}-${hex(to)}`).join(' ')]);
  if (progress !== null) rows.push(['progress', `${grouped(progress.retired)} instructions retired, ${grouped(progress.executed)} executed, ${duration(progress.virtualNs)} of guest time`]);
  if (misled !== null) rows.push(['misled', terminal.paint(misledSentence(misled), 'yellow')]);
  if (translation !== null) {
    const { installed, guestBytes, hostBytes, invalidated, callouts } = translation;
    rows.push(['translation', `${grouped(installed)} units, ${grouped(guestBytes)} bytes of the guest's code became ${grouped(hostBytes)}; ${grouped(invalidated)} dropped because their code was written; ${grouped(callouts)} callouts`]);
  }
  if (controls !== null) rows.push(['controls', describeControls(controls)]);
  const width = Math.max(...rows.map(([name]) => name.length));
  return [terminal.paint(spec.id, 'bold'), ...rows.map(([name, text]) => `  ${name.padEnd(width)}  ${text}`)];
}

const hex = (value: number): string => `0x${value.toString(16)}`;

function describeControls(controls: NonNullable<VmRecord['controls']>): string {
  const { ioExiting, msrExiting, exceptionBitmap } = controls;
  const leaves: string[] = [];
  const flags = {
    hltExiting: 'HLT', invlpgExiting: 'INVLPG', rdtscExiting: 'RDTSC', cr3LoadExiting: 'MOV to CR3', cr3StoreExiting: 'MOV from CR3', movDrExiting: 'MOV DR',
    descriptorTableExiting: 'LGDT LIDT LLDT LTR', wbinvdExiting: 'WBINVD', pauseExiting: 'PAUSE',
  } as const;
  for (const [flag, name] of Object.entries(flags)) if (controls[flag as keyof typeof flags]) leaves.push(name);
  if (ioExiting !== 'none') leaves.push(ioExiting === 'all' ? 'all ports' : `ports ${ioExiting.map(({ from, to }) => from === to ? hex(from) : `${hex(from)}-${hex(to)}`).join(' ')}`);
  if (msrExiting !== 'none') leaves.push(msrExiting === 'all' ? 'all MSRs' : 'MSRs by bitmap');
  if (controls.cr0Mask !== 0) leaves.push(`CR0 bits ${hex(controls.cr0Mask >>> 0)}`);
  if (controls.cr4Mask !== 0) leaves.push(`CR4 bits ${hex(controls.cr4Mask >>> 0)}`);
  if (exceptionBitmap !== 0) leaves.push(`exceptions ${hex(exceptionBitmap >>> 0)}`);
  const mode = controls.deprivileged ? 'deprivileged' : controls.nonRoot ? 'non-root' : 'root';
  return `${mode}${controls.eptRoot === null ? '' : `, EPT at ${hex(controls.eptRoot)}`}${controls.shadowRoot === null ? '' : `, shadow tables at ${hex(controls.shadowRoot)}`}; exits on ${leaves.length === 0 ? 'nothing of its own' : leaves.join(', ')}`;
}

const flagBits: readonly [number, string][] = [[0, 'CF'], [2, 'PF'], [4, 'AF'], [6, 'ZF'], [7, 'SF'], [8, 'TF'], [9, 'IF'], [10, 'DF'], [11, 'OF'], [14, 'NT'], [16, 'RF'], [17, 'VM'], [18, 'AC'], [21, 'ID']];

export function renderRegisters(view: RegistersView, terminal: Terminal): string[] {
  const { registers, segments } = view;
  const register = (name: keyof RegistersView['registers']): string => `${terminal.paint(name.toUpperCase().padEnd(3), 'dim')} ${hex32(registers[name])}`;
  const flags = flagBits.filter(([bit]) => (registers.eflags >>> bit) & 1).map(([, name]) => name);
  const iopl = (registers.eflags >>> 12) & 3;
  const lines = [
    [register('eax'), register('ebx'), register('ecx'), register('edx')].join('  '),
    [register('esi'), register('edi'), register('ebp'), register('esp')].join('  '),
    `${register('eip')}  ${terminal.paint('EFLAGS', 'dim')} ${hex32(registers.eflags)} [${flags.join(' ')}] IOPL ${iopl}  ${terminal.paint('CPL', 'dim')} ${registers.cpl}`,
    [register('cr0'), register('cr2'), register('cr3'), register('cr4')].join('  '),
    '',
    ...renderTable(
      [{ title: 'SEGMENT' }, { title: 'SELECTOR' }, { title: 'BASE' }, { title: 'LIMIT' }, { title: 'RIGHTS' }],
      Object.entries(segments).map(([name, segment]) => [name.toUpperCase(), segment.selector.toString(16).padStart(4, '0'), hex32(segment.base), hex32(segment.limit), segment.rights.toString(16).padStart(4, '0')]),
      terminal,
    ),
    '',
    `${view.state}, ${grouped(view.retired)} retired, ${grouped(view.executed)} executed, guest time ${duration(view.virtualNs)}`,
  ];
  return lines;
}

export function renderDisassembly(lines: readonly DisassembledLine[], terminal: Terminal, current: number | null = null): string[] {
  return lines.map(({ address, bytes, text }) => {
    const here = current !== null && address === current;
    const line = `${here ? '→' : ' '} ${hex32(address)}  ${bytes.padEnd(22)}  ${text}`;
    return here ? terminal.paint(line, 'bold') : line;
  });
}
