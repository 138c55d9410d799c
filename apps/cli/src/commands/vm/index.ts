import { Command } from 'commander';
import type { Context } from '../../context.js';
import { vmConsoleCommand } from './console.js';
import { vmCreateCommand } from './create.js';
import { vmDeleteCommand } from './delete.js';
import { vmLifecycleCommands } from './lifecycle.js';
import { vmListCommand } from './list.js';
import { vmRegistersCommand } from './registers.js';
import { vmShowCommand } from './show.js';
import { vmStepCommand } from './step.js';

const commands: readonly ((context: Context) => Command)[] = [
  vmCreateCommand, vmListCommand, vmShowCommand, ...vmLifecycleCommands, vmDeleteCommand, vmConsoleCommand, vmRegistersCommand, vmStepCommand,
];

export function vmCommand(context: Context): Command {
  const vm = new Command('vm').description('virtual machines: create, list, show, start, pause, stop, delete, console, registers, step');
  for (const create of commands) vm.addCommand(create(context));
  return vm;
}
