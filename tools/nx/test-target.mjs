// Nx plugin: every folder with a jest.config.mjs has the target `test`, one with a jest.e2e.config.mjs the target `e2e`
// (settings: targetDefaults in nx.json). A folder without a package.json, such as deploy, is a project by its own name.
import { existsSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';

const targets = { 'jest.config.mjs': 'test', 'jest.e2e.config.mjs': 'e2e' };

export const name = 'ringside-test-target';
export const createNodesV2 = ['**/{jest.config.mjs,jest.e2e.config.mjs}', (files, _options, { workspaceRoot }) => files.map((file) => {
  const folder = dirname(file);
  const named = existsSync(join(workspaceRoot, folder, 'package.json')) ? {} : { name: basename(folder) };
  return [file, { projects: { [folder]: { ...named, targets: { [targets[basename(file)]]: { executor: 'nx:run-commands' } } } } }];
})];
