import type { Command } from 'commander';
import type { Context } from '../context.js';
import { benchCommand } from './bench.js';
import { compareCommand } from './compare.js';
import { demoCommand } from './demo.js';
import { disassembleCommand } from './disassemble.js';
import { downCommand } from './down.js';
import { exitsCommand } from './exits.js';
import { recapCommand } from './recap.js';
import { sensitiveCommand } from './sensitive.js';
import { statusCommand } from './status.js';
import { traceCommand } from './trace.js';
import { upCommand } from './up.js';
import { vmCommand } from './vm/index.js';

/** Every command, in the order of `--help`. One file each. */
export const commands: readonly ((context: Context) => Command)[] = [
  demoCommand, compareCommand, sensitiveCommand, recapCommand, upCommand, downCommand, statusCommand, vmCommand, exitsCommand, traceCommand, disassembleCommand, benchCommand,
];
