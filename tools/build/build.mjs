// Builds everything: types and JavaScript by one `tsc --build`, then one self-contained bundle per app in dist/apps.
// esbuild starts from tsc's output and not from the TypeScript: only tsc emits the decorator metadata that Nest injects by.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = join(dirname(fileURLToPath(import.meta.url)), '../..');
const apps = ['guest-cpu', 'hypervisor', 'device-model', 'cli'];

// What Nest requires only when a feature is used that Ringside does not use.
const optionalDependencies = [
  '@nestjs/websockets', '@nestjs/websockets/*', '@grpc/grpc-js', '@grpc/proto-loader', 'kafkajs', 'mqtt', 'nats', 'amqplib',
  'amqp-connection-manager', 'ioredis', 'class-transformer', 'class-transformer/*', 'class-validator', '@fastify/*', '@mikro-orm/*',
  '@nestjs/axios', '@nestjs/mongoose', '@nestjs/sequelize', '@nestjs/typeorm', 'mongoose', 'sequelize', 'typeorm',
];
// CommonJS dependencies inside an ES module still call require.
const banner = `import { createRequire as __createRequire } from 'node:module'; import { fileURLToPath as __fileURLToPath } from 'node:url';
const require = __createRequire(import.meta.url); const __filename = __fileURLToPath(import.meta.url); const __dirname = __fileURLToPath(new URL('.', import.meta.url));`;

const tsc = spawnSync(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '--build', root], { stdio: ['ignore', 2, 2] });
if (tsc.status !== 0) process.exit(tsc.status ?? 1);

await mkdir(join(root, 'dist/apps'), { recursive: true });
await Promise.all(apps.map(async (app) => {
  const entry = join(root, 'apps', app, 'dist/main.js');
  const outfile = join(root, 'dist/apps', `${app}.mjs`);
  // An app without an entry point has no bundle, rather than a stale one.
  if (!existsSync(entry)) return rm(outfile, { force: true });
  await build({
    entryPoints: [entry], outfile, bundle: true, platform: 'node', format: 'esm', target: 'node20', sourcemap: 'linked',
    banner: { js: banner }, external: optionalDependencies, logLevel: 'warning', absWorkingDir: root,
  });
}));
