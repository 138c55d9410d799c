import nx from '@nx/eslint-plugin';
import tseslint from 'typescript-eslint';

// Objects that the engine's hot code must not reach through the global scope: inside a vm context (Jest) each access goes
// through an interceptor and the same loop runs 10 to 30 times slower. `const { imul, clz32 } = Math;` at module level instead.
const hoisted = ['Math', 'BigInt', 'Number', 'Atomics'];

export default tseslint.config(
  { ignores: ['**/dist/**', '**/node_modules/**', '.nx/**', '.ringside/**', 'coverage/**', '**/*.generated.ts'] },
  {
    files: ['**/*.ts'],
    languageOptions: { parser: tseslint.parser, parserOptions: { sourceType: 'module' } },
    plugins: { '@typescript-eslint': tseslint.plugin, '@nx': nx },
    linterOptions: { reportUnusedDisableDirectives: 'off' },
    rules: {
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/ban-ts-comment': 'error',
      'no-debugger': 'error',
      'no-var': 'error',
      'prefer-const': ['error', { destructuring: 'all' }],
      eqeqeq: ['error', 'always', { null: 'ignore' }],
      '@nx/enforce-module-boundaries': ['error', {
        allow: [],
        enforceBuildableLibDependency: false,
        depConstraints: [
          {
            sourceTag: 'type:core',
            onlyDependOnLibsWithTags: ['type:core'],
            bannedExternalImports: ['@nestjs/*', '@nats-io/*', 'nats', '@opentelemetry/*', 'rxjs', 'reflect-metadata'],
          },
          { sourceTag: 'type:assembly', onlyDependOnLibsWithTags: ['type:core', 'type:guests'], bannedExternalImports: ['@nestjs/*', '@nats-io/*', '@opentelemetry/*'] },
          { sourceTag: 'type:guests', onlyDependOnLibsWithTags: ['type:core', 'type:guests'], bannedExternalImports: ['@nestjs/*', '@nats-io/*', '@opentelemetry/*'] },
          { sourceTag: 'type:protocol', onlyDependOnLibsWithTags: ['type:core'], bannedExternalImports: ['@nestjs/*', '@nats-io/*', '@opentelemetry/*'] },
          { sourceTag: 'type:telemetry', onlyDependOnLibsWithTags: ['type:core', 'type:protocol'] },
          { sourceTag: 'type:transport', onlyDependOnLibsWithTags: ['type:core', 'type:protocol', 'type:telemetry'] },
          { sourceTag: 'type:app', onlyDependOnLibsWithTags: ['type:core', 'type:guests', 'type:protocol', 'type:telemetry', 'type:transport'] },
        ],
      }],
    },
  },
  {
    // The pure core: a machine that reads no clock, sets no timer and does no input or output.
    files: ['libs/core/*/src/**/*.ts'],
    ignores: ['**/*.spec.ts', '**/*.bench.ts', '**/testing/**'],
    rules: {
      'no-restricted-imports': ['error', { patterns: [{ regex: '^node:', message: 'libs/core is pure: no Node built-ins.' }, {
        regex: '^(fs|path|os|net|http|https|crypto|child_process|worker_threads|process|timers|util|events|stream|buffer|url|zlib|perf_hooks)(/.*)?$',
        message: 'libs/core is pure: no Node built-ins.',
      }] }],
      'no-restricted-globals': ['error',
        ...['process', 'Buffer', 'setTimeout', 'setInterval', 'setImmediate', 'queueMicrotask', 'performance', 'Date', 'fetch', 'console']
          .map((name) => ({ name, message: 'libs/core is pure: time comes in as virtual time, and nothing goes out but results.' }))],
      'no-restricted-properties': ['error', { object: 'Math', property: 'random', message: 'libs/core is deterministic: take a seed.' }],
    },
  },
  {
    files: ['libs/core/x86/src/**/*.ts'],
    ignores: ['**/*.spec.ts', '**/*.bench.ts', '**/testing/**'],
    rules: {
      'no-restricted-syntax': ['error', {
        selector: `:function MemberExpression[object.type="Identifier"][object.name=/^(${hoisted.join('|')})$/]`,
        message: 'Hoist the function out of the global object at module level: const { imul } = Math.',
      }],
    },
  },
);
