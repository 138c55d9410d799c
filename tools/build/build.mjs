// Builds everything: types and JavaScript by one `tsc --build`, then one self-contained bundle per program in dist/apps.
// esbuild starts from tsc's output and not from the TypeScript: only tsc emits the decorator metadata that Nest injects by.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { cp, mkdir, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = join(dirname(fileURLToPath(import.meta.url)), '../..');
/** Bundle → its entry point in tsc's output. */
const programs = {
  'guest-cpu': 'apps/guest-cpu/dist/main.js', hypervisor: 'apps/hypervisor/dist/main.js', 'device-model': 'apps/device-model/dist/main.js', translator: 'apps/translator/dist/main.js', cli: 'apps/cli/dist/main.js',
  'bench-bus': 'tools/bench/dist/bus.js', 'bench-cpu': 'tools/bench/cpu/dist/main.js',
};

// What Nest requires only when a feature is used that Ringside does not use.
const optionalDependencies = [
  '@nestjs/websockets', '@nestjs/websockets/*', '@grpc/grpc-js', '@grpc/proto-loader', 'kafkajs', 'mqtt', 'nats', 'amqplib',
  'amqp-connection-manager', 'ioredis', 'class-transformer', 'class-transformer/*', 'class-validator', '@fastify/*', '@mikro-orm/*',
  '@nestjs/axios', '@nestjs/mongoose', '@nestjs/sequelize', '@nestjs/typeorm', 'mongoose', 'sequelize', 'typeorm',
];
// CommonJS dependencies inside an ES module still call require.
const banner = `import { createRequire as __createRequire } from 'node:module'; import { fileURLToPath as __fileURLToPath } from 'node:url';
const require = __createRequire(import.meta.url); const __filename = __fileURLToPath(import.meta.url); const __dirname = __fileURLToPath(new URL('.', import.meta.url));`;

const tsc = spawnSync(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '--build', root, join(root, 'tools/bench'), join(root, 'tools/bench/cpu')], { stdio: ['ignore', 2, 2] });
if (tsc.status !== 0) process.exit(tsc.status ?? 1);

await mkdir(join(root, 'dist/apps'), { recursive: true });
await Promise.all(Object.entries(programs).map(async ([name, output]) => {
  const entry = join(root, output);
  const outfile = join(root, 'dist/apps', `${name}.mjs`);
  // A program without an entry point has no bundle, rather than a stale one.
  if (!existsSync(entry)) return rm(outfile, { force: true });
  await build({
    entryPoints: [entry], outfile, bundle: true, platform: 'node', format: 'esm', target: 'node20', sourcemap: 'linked', minifySyntax: true, minifyWhitespace: true,
    banner: { js: banner }, external: optionalDependencies, logLevel: 'warning', absWorkingDir: root,
  });
}));

// Services look for the guests' images beside their bundle.
await cp(join(root, 'libs/guests/images'), join(root, 'dist/apps/images'), { recursive: true });
await cp(join(root, 'tools/bench/cpu/loops.elf'), join(root, 'dist/apps/loops.elf'));
