import type { Command } from 'commander';
import type { Context } from '../context.js';
import { upCommand } from './up.js';
import { downCommand } from './down.js';
import { statusCommand } from './status.js';

/** Every command, in the order of `--help`. One file each. */
export const commands: readonly ((context: Context) => Command)[] = [upCommand, downCommand, statusCommand];
