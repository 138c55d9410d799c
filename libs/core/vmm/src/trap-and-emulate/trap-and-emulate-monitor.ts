import type { VmSpec } from '@ringside/machine';
import { ExitReason } from '@ringside/x86';
import { DeprivilegedExit } from '../deprivileged/deprivileged-exit.js';
import { DeprivilegedMachine } from '../deprivileged/deprivileged-machine.js';
import type { PathMonitor } from '../virtual-machine-monitor.js';
import { handleTrap, TRAP_AND_EMULATE_GROUPS } from './exits.js';

/** Ring -1 of an unmodified guest whose kernel runs in ring 1 and traps, for `VirtualMachineMonitor`. */
export function trapAndEmulateMonitor(spec: VmSpec, image: Uint8Array): PathMonitor {
  const machine = new DeprivilegedMachine(spec, image);
  return {
    monitorBytes: DeprivilegedMachine.MONITOR_BYTES,
    initialEffects: () => machine.initialEffects(),
    answer: (transaction) => handleTrap(new DeprivilegedExit(machine, transaction)),
    stateGroups: () => new Map(Object.values(ExitReason).map((reason) => [reason, TRAP_AND_EMULATE_GROUPS])),
  };
}
