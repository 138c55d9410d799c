import { ExitRegistry } from '../exit-registry.js';
import { cpuid } from './cpuid.js';
import { crAccess } from './cr-access.js';
import { eptViolation } from './ept-violation.js';
import { exception } from './exception.js';
import type { HardwareAssistedMachine } from './hardware-assisted-machine.js';
import { hlt } from './hlt.js';
import { input } from './input.js';
import { interruptWindow } from './interrupt-window.js';
import { invd } from './invd.js';
import { ioInstruction } from './io-instruction.js';
import { rdmsr } from './rdmsr.js';
import { preemptionTimer } from './preemption-timer.js';
import { tripleFault } from './triple-fault.js';
import { unexpected } from './unexpected.js';
import { unsupportedMode } from './unsupported-mode.js';
import { vmcall } from './vmcall.js';
import { writeTrace } from './write-trace.js';
import { wrmsr } from './wrmsr.js';

/** Every exit of a hardware-assisted guest, the common ones first. */
export const hardwareAssistedExits = new ExitRegistry<HardwareAssistedMachine>([
  ioInstruction, eptViolation, hlt, preemptionTimer, interruptWindow, cpuid, crAccess, rdmsr, wrmsr, vmcall, invd, input,
  exception, writeTrace, tripleFault, unsupportedMode,
], unexpected);
