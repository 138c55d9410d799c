import type { Effect, ExitReply, VmSpec } from '@ringside/machine';
import { IF_IN_BYTE, VIRTUAL_IF_BYTE, VIRTUAL_IOPL } from '@ringside/translation';
import { EventType, ExitReason } from '@ringside/x86';
import { DeprivilegedExit } from '../deprivileged/deprivileged-exit.js';
import { DeprivilegedMachine } from '../deprivileged/deprivileged-machine.js';
import { setCr2 } from '../deprivileged/deliver-event.js';
import { emulate } from '../deprivileged/emulate.js';
import { GuestException } from '../deprivileged/linear-memory.js';
import { EFLAGS_IF } from '../deprivileged/virtual-cpu.js';
import { RESUME, RETIRE } from '../dispositions.js';
import { deliver, finish, handleTrap, softwareInterrupt, TRAP_AND_EMULATE_GROUPS } from '../trap-and-emulate/exits.js';
import type { Transaction } from '../transaction.js';
import type { PathMonitor } from '../virtual-machine-monitor.js';
import { emulateSensitive } from './emulate-sensitive.js';

const DEBUG = 1, BREAKPOINT = 3, OVERFLOW = 4, INVALID_OPCODE = 6;
const EFLAGS_OF = 1 << 11;

/** What CR4.UMIP keeps from applications (SDM Vol. 3A 2.5). */
const PREVENTED = new Set(['SGDT Mt', 'SIDT Mt', 'SLDT Ev', 'STR Ev', 'SMSW Ev']);

/** Monitor data with its lookup table, and a megabyte of units. */
export const TRANSLATION_CACHE_BYTES = 0x1a_0000;

/**
 * Ring -1 of an unmodified guest whose kernel runs translated. It is trap-and-emulate's ring -1, and is asked less: what translated code does for itself never
 * comes here. The virtual IF is in the translation cache: an exit carries it in EFLAGS, and a change goes back as an effect.
 */
export function binaryTranslationMonitor(spec: VmSpec, image: Uint8Array): PathMonitor {
  const machine = new DeprivilegedMachine(spec, image);
  const cache = { offset: DeprivilegedMachine.MONITOR_BYTES, bytes: TRANSLATION_CACHE_BYTES };
  /** INTR as guest-cpu knows it: translated code that sets IF looks at it. */
  let lineTold = false;
  return {
    monitorBytes: cache.offset + cache.bytes,
    translationCache: cache,
    initialEffects: () => machine.initialEffects(),
    stateGroups: () => new Map(Object.values(ExitReason).map((reason) => [reason, TRAP_AND_EMULATE_GROUPS])),
    async answer(transaction) {
      const { vcpu } = machine;
      const registers = transaction.exit.registers!;
      const before = (registers.eflags & EFLAGS_IF) !== 0;
      const ioplBefore = vcpu.iopl;
      vcpu.interruptFlag = before;
      // The real IF is always 1.
      registers.eflags = (registers.eflags | EFLAGS_IF) >>> 0;
      const exit = new DeprivilegedExit(machine, transaction);
      const reply = await answer(exit, transaction);
      const effects: Effect[] = [];
      if (vcpu.iopl !== ioplBefore) effects.push({ kind: 'memory', space: 'monitor', address: cache.offset + VIRTUAL_IOPL, bytes: Uint8Array.of(vcpu.iopl) });
      if (vcpu.interruptFlag !== before) {
        effects.push({ kind: 'memory', space: 'monitor', address: cache.offset + VIRTUAL_IF_BYTE, bytes: Uint8Array.of(vcpu.interruptFlag ? IF_IN_BYTE : 0) });
      }
      if (exit.frame.cpl === 3 && !machine.stopped && (vcpu.iopl !== 0 || !vcpu.interruptFlag)) {
        machine.stopped = true;
        effects.push({ kind: 'activity', activity: 'stopped', state: 'unsupported-mode', why: `an application with IOPL ${vcpu.iopl} and IF ${vcpu.interruptFlag ? 1 : 0} cannot run directly, and is not translated` });
      }
      if (machine.line !== lineTold) effects.push({ kind: 'interrupt', line: machine.line, vector: null });
      lineTold = machine.line;
      return effects.length === 0 ? reply : { ...reply, effects: [...reply.effects, ...effects] };
    },
  };
}

function answer(exit: DeprivilegedExit, transaction: Transaction): Promise<ExitReply> {
  switch (transaction.exit.reason) {
    case ExitReason.Callout: return callout(exit, transaction);
    // IF is 1, and no shadow: translated code looked, or native would take it here.
    case ExitReason.InterruptWindow: return finish(exit, RESUME);
    case ExitReason.DeprivilegedException: {
      const { instruction } = transaction.exit;
      // UMIP: an application asks, and is told what it would be told natively.
      return instruction != null && exit.frame.cpl === 3 && PREVENTED.has(instruction.name) ? callout(exit, transaction) : handleTrap(exit);
    }
    default: return handleTrap(exit);
  }
}

/** An instruction that the translator left to ring -1. */
async function callout(exit: DeprivilegedExit, transaction: Transaction): Promise<ExitReply> {
  const { frame, machine } = exit;
  const { access } = transaction.exit;
  if (access !== null) {
    // The processor completes it, iterations and all; an interrupt that the device raises is taken behind it.
    const { data } = await machine.cycle(transaction, 'port', access, false);
    machine.settleControls(transaction);
    return transaction.reply({ kind: 'retire', data: access.write ? null : data });
  }
  const instruction = transaction.exit.instruction!;
  switch (instruction.name) {
    case 'INT Ib': return softwareInterrupt(exit, { vector: instruction.immediate & 0xff, type: EventType.SoftwareInterrupt, errorCode: null });
    case 'INT3': return softwareInterrupt(exit, { vector: BREAKPOINT, type: EventType.SoftwareException, errorCode: null });
    case 'INT1': return softwareInterrupt(exit, { vector: DEBUG, type: EventType.PrivilegedSoftwareException, errorCode: null });
    case 'INTO':
      if ((frame.eflags & EFLAGS_OF) !== 0) return softwareInterrupt(exit, { vector: OVERFLOW, type: EventType.SoftwareException, errorCode: null });
      frame.eip = (frame.eip + instruction.length) >>> 0;
      return finish(exit, RETIRE);
    // The guest's processor has no VMX.
    case 'VMCALL': return deliver(exit, { vector: INVALID_OPCODE, type: EventType.HardwareException, errorCode: null });
    default:
  }
  try {
    const outcome = (await emulateSensitive(exit, instruction)) ? 'done' : await emulate(exit, instruction);
    if (outcome === 'refused') {
      machine.stop(transaction, 'unsupported-mode', `${instruction.name} is a callout that is not built`);
      return await finish(exit, RESUME);
    }
    if (outcome === 'done') frame.eip = (frame.eip + instruction.length) >>> 0;
    return await finish(exit, RETIRE);
  } catch (error) {
    if (!(error instanceof GuestException)) throw error;
    if (error.cr2 !== null) setCr2(exit, error.cr2);
    return deliver(exit, { vector: error.vector, type: EventType.HardwareException, errorCode: error.errorCode });
  }
}
