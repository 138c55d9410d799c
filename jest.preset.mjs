// Native ESM Jest (NODE_OPTIONS=--experimental-vm-modules, set by ./ringside test and nx.json).
export default {
  testEnvironment: 'node',
  roots: ['<rootDir>/src'],
  extensionsToTreatAsEsm: ['.ts'],
  moduleNameMapper: { '^(\\.{1,2}/.*)\\.js$': '$1' },
  // Workspace packages resolve to their TypeScript sources; 'import' must not be listed (it breaks Jest's own requires).
  testEnvironmentOptions: { customExportConditions: ['@ringside/source', 'node', 'node-addons'] },
  transform: {
    '^.+\\.ts$': ['@swc/jest', {
      jsc: { target: 'es2022', parser: { syntax: 'typescript', decorators: true }, transform: { legacyDecorator: true, decoratorMetadata: true } },
      module: { type: 'es6' },
    }],
  },
  testTimeout: 60_000,
};
