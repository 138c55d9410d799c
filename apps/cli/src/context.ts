import { existsSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Terminal } from './terminal.js';

/** What a command needs from outside: handed in, so that a test can hand in its own. */
export interface Context {
  terminal: Terminal;
  environment: Record<string, string | undefined>;
  /** Where `up` keeps pid files, logs and what is running. */
  stateDirectory: string;
  /** Where the services' bundles are. */
  appsDirectory: string;
  /** Ended when the command ends, whichever way: the last opened first. */
  cleanups: (() => Promise<void>)[];
  /** Of the process, for a command that has printed its answer and wants to say no by it. */
  exitCode: number;
}

/** The repository, from the bundle in dist/apps as well as from apps/cli/src. */
export function repositoryRoot(): string {
  let directory = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(directory, 'apps')) && dirname(directory) !== directory) directory = dirname(directory);
  if (directory.endsWith('/dist')) directory = dirname(directory);
  return directory;
}

export function defaultDirectories(environment: Record<string, string | undefined>): { stateDirectory: string; appsDirectory: string } {
  const root = repositoryRoot();
  return {
    stateDirectory: resolve(environment['RINGSIDE_STATE'] ?? join(root, '.ringside')),
    appsDirectory: resolve(environment['RINGSIDE_APPS'] ?? join(root, 'dist/apps')),
  };
}
