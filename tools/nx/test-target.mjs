// Nx plugin: every project with a jest.config.mjs has the target `test` (settings: targetDefaults in nx.json).
import { dirname } from 'node:path';

export const name = 'ringside-test-target';
export const createNodesV2 = ['**/jest.config.mjs', (files) => files.map((file) => [file, {
  projects: { [dirname(file)]: { targets: { test: { executor: 'nx:run-commands' } } } },
}])];
