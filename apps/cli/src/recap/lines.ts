import type { OperationName } from '@ringside/machine';
import { duration, grouped } from '../render/units.js';
import { machineName, NotMeasured, type Evidence, type Quantity, type Who } from './evidence.js';

/*
 * The course's closing table, as claims that a comparison confirms or not. Nothing here says which way a number goes: each `judge` reads its numbers and
 * decides. Counts are exact; times are this system's; cycles are those of the hardware that a modelled clock names. No line mixes them.
 */
export type Technique = 'paravirtualization' | 'full virtualization: binary translation' | 'full virtualization: trap-and-emulate' | 'hardware assistance';
export type Basis = 'counts' | 'wall' | 'modelled';
export type Verdict = 'holds' | 'does not hold' | 'no difference' | 'not measured';

export interface Judgement { verdict: Exclude<Verdict, 'not measured'>; says: string }
export interface LineDefinition {
  id: string;
  technique: Technique;
  side: 'pro' | 'con';
  basis: Basis;
  claim: string;
  judge: (evidence: Evidence) => Judgement;
}

export const NATIVE: Who = { path: 'native' };
export const TRAPPING: Who = { path: 'trap-and-emulate' };
export const PARAVIRT: Who = { path: 'paravirt', guestKernelRing: 1 };
export const TRANSLATED: Who = { path: 'binary-translation' };
export const NESTED: Who = { path: 'hardware-assisted', mmu: 'nested' };
export const SHADOWED: Who = { path: 'hardware-assisted', mmu: 'shadow' };

/** Below a tenth two speeds count as the same. */
const DIFFERENCE = 1.1;

const PARAVIRTUALIZATION = 'paravirtualization';
const TRANSLATION = 'full virtualization: binary translation';
const TRAPS = 'full virtualization: trap-and-emulate';
const HARDWARE = 'hardware assistance';

const decide = (holds: boolean, says: string): Judgement => ({ verdict: holds ? 'holds' : 'does not hold', says });
const counted = (count: number, noun: string): string => `${grouped(count)} ${noun}${count === 1 ? '' : 's'}`;
const sum = (evidence: Evidence, operations: readonly OperationName[], who: Who, quantity: Quantity): number =>
  Math.round(operations.reduce((total, operation) => total + evidence.number(operation, who, quantity), 0) * 100) / 100;
/** `exits` of one operation on several machines, in words. */
function exitsOn(evidence: Evidence, operation: OperationName, machines: readonly Who[]): { counts: number[]; says: string } {
  const counts = machines.map((who) => evidence.number(operation, who, 'exits'));
  return { counts, says: `${operation}: ${machines.map((who, index) => `${counted(counts[index]!, 'exit')} on ${machineName(who)}`).join(', ')}` };
}

/** The operations on which a machine retired another number of instructions than native, of those that both ran. */
function retiredOtherwise(evidence: Evidence, who: Who): { all: OperationName[]; other: OperationName[] } {
  const all = evidence.operations([NATIVE, who], 'retired');
  if (all.length === 0) throw new NotMeasured(`any operation on native and ${machineName(who)}`);
  return { all, other: all.filter((operation) => evidence.number(operation, who, 'retired') !== evidence.number(operation, NATIVE, 'retired')) };
}

const unmodified = (who: Who) => (evidence: Evidence): Judgement => {
  const { all, other } = retiredOtherwise(evidence, who);
  const misled = all.filter((operation) => evidence.result(operation, who).status === 'misled');
  const same = `the same image as natively retires the same instructions in ${all.length - other.length} of ${all.length} operations`;
  return decide(other.length === 0 && misled.length === 0, `${same}${other.length > 0 ? `, not in ${other.join(', ')}` : ''}${misled.length > 0 ? `, and is misled in ${misled.length}` : ''}`);
};

const COUNTS: readonly LineDefinition[] = [
  {
    id: 'pv-direct-calls', technique: PARAVIRTUALIZATION, side: 'pro', basis: 'counts', claim: 'A system call reaches the guest\'s kernel without the hypervisor',
    judge: (evidence) => {
      const { counts: [own], says } = exitsOn(evidence, 'syscall', [PARAVIRT, TRAPPING]);
      return decide(own === 0, says);
    },
  },
  {
    id: 'pv-batches', technique: PARAVIRTUALIZATION, side: 'pro', basis: 'counts', claim: 'The guest can gather its requests: one call for many',
    judge: (evidence) => {
      const { counts: [own, ...others], says } = exitsOn(evidence, 'pte-modify-batch', [PARAVIRT, TRAPPING, TRANSLATED]);
      return decide(others.every((other) => own! < other), `32 entries at once; ${says}`);
    },
  },
  {
    id: 'pv-fewer-exits', technique: PARAVIRTUALIZATION, side: 'pro', basis: 'counts', claim: 'A guest that asks for what it wants leaves less often than one whose every privileged instruction traps',
    judge: (evidence) => {
      const { counts: [own, trapping], says } = exitsOn(evidence, 'boot', [PARAVIRT, TRAPPING]);
      return decide(own! < trapping!, says);
    },
  },
  {
    id: 'pv-modified', technique: PARAVIRTUALIZATION, side: 'con', basis: 'counts', claim: 'The guest\'s kernel has to be modified',
    judge: (evidence) => {
      const operations = evidence.operations([NATIVE, PARAVIRT], 'hypercalls');
      if (operations.length === 0) throw new NotMeasured('any operation on native and paravirt');
      const [own, native] = [sum(evidence, operations, PARAVIRT, 'hypercalls'), sum(evidence, operations, NATIVE, 'hypercalls')];
      return decide(own > 0 && native === 0, `${counted(own, 'hypercall')} in ${operations.length} operations, where the unmodified kernel makes ${native === 0 ? 'none' : counted(native, 'hypercall')}`);
    },
  },
  {
    id: 'pv-page-tables', technique: PARAVIRTUALIZATION, side: 'con', basis: 'counts', claim: 'Every change of a page table has to be asked for',
    judge: (evidence) => {
      const { counts: [own, native], says } = exitsOn(evidence, 'pte-modify', [PARAVIRT, NATIVE]);
      return decide(own! > native!, says);
    },
  },
  {
    id: 'pv-faults', technique: PARAVIRTUALIZATION, side: 'con', basis: 'counts', claim: 'An application\'s page faults go through the hypervisor',
    judge: (evidence) => {
      const { counts: [own], says } = exitsOn(evidence, 'page-fault', [PARAVIRT, NATIVE]);
      return decide(own! > 0, says);
    },
  },
  {
    id: 'bt-unmodified', technique: TRANSLATION, side: 'pro', basis: 'counts', claim: 'Unmodified systems run, and pass through what they pass through natively', judge: unmodified(TRANSLATED),
  },
  {
    id: 'bt-in-cache', technique: TRANSLATION, side: 'pro', basis: 'counts', claim: 'What the translator rewrote needs no hypervisor: calls and system calls stay in the translation cache',
    judge: (evidence) => {
      const one = exitsOn(evidence, 'call-ret', [TRANSLATED]), other = exitsOn(evidence, 'syscall', [TRANSLATED, TRAPPING]);
      return decide(one.counts[0] === 0 && other.counts[0] === 0, `${one.says}; ${other.says}`);
    },
  },
  {
    id: 'bt-extra-step', technique: TRANSLATION, side: 'con', basis: 'counts', claim: 'The extra step costs: code is translated first, and the translation is longer',
    judge: (evidence) => {
      const [executed, retired] = [evidence.number('boot', TRANSLATED, 'executed'), evidence.number('boot', TRANSLATED, 'retired')];
      const { translation } = evidence.result('boot', TRANSLATED);
      const units = translation === null ? '' : `, after ${counted(translation.units, 'unit')} were translated (${grouped(translation.guestBytes)} bytes into ${grouped(translation.hostBytes)})`;
      return decide(executed > retired, `to boot, ${grouped(executed)} instructions are executed for ${grouped(retired)} of the guest's${units}`);
    },
  },
  {
    id: 'bt-page-tables', technique: TRANSLATION, side: 'con', basis: 'counts', claim: 'Shadow page tables: a store to a page table in use traps',
    judge: (evidence) => {
      const { counts: [own, native], says } = exitsOn(evidence, 'pte-modify', [TRANSLATED, NATIVE]);
      return decide(own! > native!, says);
    },
  },
  {
    id: 'te-misled', technique: TRAPS, side: 'con', basis: 'counts', claim: 'Without rewriting it cannot work on this processor: sensitive instructions do not trap, and mislead the guest',
    judge: (evidence) => {
      const { status, reason } = evidence.result('boot', TRAPPING);
      return status === 'misled' ? decide(true, reason ?? 'misled') : decide(false, 'nothing misled the guest');
    },
  },
  {
    id: 'te-exits', technique: TRAPS, side: 'con', basis: 'counts', claim: 'Everything privileged traps: more exits than where the code is rewritten',
    judge: (evidence) => {
      const { counts: [own, translated], says } = exitsOn(evidence, 'boot', [TRAPPING, TRANSLATED]);
      return decide(own! > translated!, says);
    },
  },
  {
    id: 'hw-unmodified', technique: HARDWARE, side: 'pro', basis: 'counts', claim: 'Unmodified systems run, and nothing is added to their instructions',
    judge: (evidence) => {
      const judged = unmodified(NESTED)(evidence);
      const longer = retiredOtherwise(evidence, NESTED).all.filter((operation) => evidence.number(operation, NESTED, 'executed') !== evidence.number(operation, NATIVE, 'executed'));
      return decide(judged.verdict === 'holds' && longer.length === 0, `${judged.says}${longer.length > 0 ? `; other instructions are executed in ${longer.join(', ')}` : ', and executes no others'}`);
    },
  },
  {
    id: 'hw-direct', technique: HARDWARE, side: 'pro', basis: 'counts', claim: 'System calls, exceptions and control registers stay in the guest',
    judge: (evidence) => {
      const each = (['syscall', 'divide-error', 'cr-write'] as const).map((operation) => exitsOn(evidence, operation, [NESTED]));
      return decide(each.every(({ counts }) => counts[0] === 0), each.map(({ says }) => says).join('; '));
    },
  },
  {
    id: 'hw-nested', technique: HARDWARE, side: 'pro', basis: 'counts', claim: 'With nested paging the guest keeps its own page tables',
    judge: (evidence) => {
      const each = (['pte-modify', 'page-fault'] as const).map((operation) => exitsOn(evidence, operation, [NESTED, SHADOWED]));
      return decide(each.every(({ counts }) => counts[0] === 0), each.map(({ says }) => says).join('; '));
    },
  },
  {
    id: 'hw-first-generation', technique: HARDWARE, side: 'con', basis: 'counts', claim: 'Without nested paging, page tables and page faults exit',
    judge: (evidence) => {
      const each = (['pte-modify', 'page-fault', 'context-switch'] as const).map((operation) => exitsOn(evidence, operation, [SHADOWED]));
      return decide(each.every(({ counts }) => counts[0]! > 0), each.map(({ says }) => says).join('; '));
    },
  },
  {
    id: 'hw-devices', technique: HARDWARE, side: 'con', basis: 'counts', claim: 'Every access to a device is an exit',
    judge: (evidence) => {
      const { counts: [own], says } = exitsOn(evidence, 'in', [NESTED, NATIVE]);
      return decide(own! > 0, says);
    },
  },
];

/**
 * "`slower` takes longer than `faster`": by the median of the ratios over the operations that both ran, for single ones differ by orders of magnitude. Below a
 * tenth is no difference; the other way round the claim does not hold. What is the same work on both counts as the same time. Boot is no operation here: it is one
 * piece, and translates everything once.
 */
export function slowerBy(evidence: Evidence, slower: Who, faster: Who, quantity: 'p50Ns' | 'cycles'): Judgement {
  const operations = evidence.operations([slower, faster], quantity).filter((operation) => operation !== 'boot');
  const ratios = operations.flatMap((operation) => {
    const [a, b] = [evidence.number(operation, slower, quantity), evidence.number(operation, faster, quantity)];
    const same = quantity === 'p50Ns' && evidence.sameWork(operation, slower, faster);
    return same || (a > 0 && b > 0) ? [{ operation, a, b, same, ratio: same ? 1 : a / b }] : [];
  });
  if (ratios.length === 0) throw new NotMeasured(`any operation on ${machineName(slower)} and ${machineName(faster)}${quantity === 'cycles' ? ', in modelled cycles' : ''}`);
  const sorted = ratios.sort((a, b) => a.ratio - b.ratio);
  const middle = (sorted.length - 1) / 2;
  const median = Math.sqrt(sorted[Math.floor(middle)]!.ratio * sorted[Math.ceil(middle)]!.ratio);
  const differing = sorted.filter(({ same }) => !same);
  const shown = ({ operation, a, b }: (typeof ratios)[number]): string => quantity === 'cycles' ? `${operation} ${grouped(a)} : ${grouped(b)} cycles` : `${operation} ${duration(a)} : ${duration(b)}`;
  const details = [
    `median of ${counted(sorted.length, 'operation')}${differing.length < sorted.length ? `, ${sorted.length - differing.length} of them the same work` : ''}`,
    ...(differing.length === 0 ? [] : differing.length === 1 ? [shown(differing[0]!)] : [`from ${shown(differing[0]!)} to ${shown(differing.at(-1)!)}`]),
  ];
  return {
    verdict: median > DIFFERENCE ? 'holds' : median < 1 / DIFFERENCE ? 'does not hold' : 'no difference',
    says: `${machineName(slower)} takes ${median.toFixed(2)} × ${machineName(faster)} (${details.join('; ')})`,
  };
}

/** Claims about speed, once for this system's times and once for a modelled hardware's cycles. */
const SPEED: readonly (Omit<LineDefinition, 'basis' | 'judge'> & { slower: Who | 'hardware'; faster: Who | 'hardware' })[] = [
  { id: 'pv-faster', technique: PARAVIRTUALIZATION, side: 'pro', claim: 'It is faster than full virtualization by binary translation', slower: TRANSLATED, faster: PARAVIRT },
  { id: 'pv-not-free', technique: PARAVIRTUALIZATION, side: 'con', claim: 'It is slower than native execution', slower: PARAVIRT, faster: NATIVE },
  { id: 'bt-beats-traps', technique: TRANSLATION, side: 'pro', claim: 'It is faster than to trap and emulate', slower: TRAPPING, faster: TRANSLATED },
  { id: 'bt-slower', technique: TRANSLATION, side: 'con', claim: 'It is slower than native execution', slower: TRANSLATED, faster: NATIVE },
  { id: 'hw-faster', technique: HARDWARE, side: 'pro', claim: 'It is faster than binary translation', slower: TRANSLATED, faster: 'hardware' },
  { id: 'hw-not-free', technique: HARDWARE, side: 'con', claim: 'It is slower than native execution', slower: 'hardware', faster: NATIVE },
];

/** Hardware assistance with nested paging; on hardware that has none, with shadow page tables. */
function hardware(evidence: Evidence, quantity: 'p50Ns' | 'cycles'): Who {
  return evidence.operations([NESTED], quantity).length > 0 ? NESTED : SHADOWED;
}

const speed = (basis: 'wall' | 'modelled', quantity: 'p50Ns' | 'cycles'): LineDefinition[] => SPEED.map(({ slower, faster, id, ...line }) => ({
  ...line, basis, id: `${id}-${basis}`,
  judge: (evidence) => slowerBy(evidence, slower === 'hardware' ? hardware(evidence, quantity) : slower, faster === 'hardware' ? hardware(evidence, quantity) : faster, quantity),
}));

export const LINES: readonly LineDefinition[] = [...COUNTS, ...speed('wall', 'p50Ns'), ...speed('modelled', 'cycles')];
