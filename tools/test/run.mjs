// ./ringside test [--long] [--project NAME …]: build, lint, every project's Jest tests, end-to-end tests; the last line counts.
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const root = join(dirname(fileURLToPath(import.meta.url)), '../..');
const started = Date.now();

const help = `usage: ./ringside test [--long] [--project NAME ...]

Builds, lints and runs all default tests. The last line is "N passed, N failed"; exit code 0 when nothing failed.

  --long            also what takes longer: sequences against the host's processor and QEMU, more seeds
  --project NAME    only this project's tests, such as x86 or cli (may be given again)
  --help            this text`;

let options;
try {
  options = parseArgs({ options: { long: { type: 'boolean' }, project: { type: 'string', multiple: true }, help: { type: 'boolean', short: 'h' } } }).values;
} catch (error) {
  console.error(`ringside: ${error.message}\n\n${help}`);
  process.exit(2);
}
if (options.help) {
  console.log(help);
  process.exit(0);
}

const environment = { ...process.env, NX_DAEMON: 'false', NX_TUI: 'false', FORCE_COLOR: process.stdout.isTTY ? '1' : '0', ...(options.long ? { RINGSIDE_LONG: '1' } : {}) };
if (!process.stdout.isTTY) environment.NO_COLOR = '1';
const bin = (name) => join(root, 'node_modules/.bin', name);

let passed = 0;
const failures = [];
const children = new Set();
for (const [signal, code] of [['SIGINT', 130], ['SIGTERM', 143], ['SIGHUP', 129]]) {
  process.on(signal, () => {
    for (const child of children) child.kill('SIGTERM');
    process.exit(code);
  });
}

/** Runs a program in the repository root; resolves to its exit code and, when asked, what it printed. */
function run(command, args, { capture = false, quiet = false } = {}) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd: root, env: environment, stdio: ['ignore', 'pipe', 'pipe'] });
    children.add(child);
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk) => {
        if (capture) output += chunk;
        if (!quiet) process.stdout.write(chunk);
      });
    }
    child.on('error', (error) => resolve({ code: 1, output: `${output}\n${error.message}` }));
    child.on('close', (code) => {
      children.delete(child);
      resolve({ code: code ?? 1, output });
    });
  });
}

/** A step that passes or fails as a whole. */
async function step(name, work) {
  const begun = Date.now();
  process.stdout.write(`\n── ${name}\n`);
  const ok = await work();
  const seconds = ((Date.now() - begun) / 1000).toFixed(1);
  if (ok) passed++;
  else failures.push(name);
  process.stdout.write(`${ok ? 'passed' : 'FAILED'}: ${name} (${seconds} s)\n`);
  return ok;
}

/** Adds up one project's Jest report. A project without one did not get to its end. */
function collect(project, target, directory, file) {
  const path = join(directory, file);
  if (!existsSync(path)) {
    failures.push(`${project} (${target}): did not run to its end`);
    return;
  }
  const report = JSON.parse(readFileSync(path, 'utf8'));
  passed += report.numPassedTests;
  for (const suite of report.testResults) {
    const where = suite.name.startsWith(root) ? suite.name.slice(root.length + 1) : suite.name;
    const failed = suite.assertionResults.filter((result) => result.status === 'failed');
    for (const result of failed) failures.push(`${where}: ${result.fullName}`);
    if (suite.status === 'failed' && failed.length === 0) failures.push(`${where}: ${suite.message.split('\n').find((line) => line.trim() !== '')?.trim() ?? 'did not load'}`);
  }
}

/** The projects that were asked for, as Nx knows them: all, without --project. */
async function askedProjects() {
  const graphFile = 'dist/project-graph.json';
  mkdirSync(join(root, 'dist'), { recursive: true });
  const listing = await run(bin('nx'), ['graph', `--file=${graphFile}`], { capture: true, quiet: true });
  if (listing.code !== 0) {
    console.error(`ringside: nx graph failed:\n${listing.output.trim()}`);
    process.exit(1);
  }
  const nodes = Object.values(JSON.parse(readFileSync(join(root, graphFile), 'utf8')).graph.nodes);
  if (!options.project) return nodes;
  const short = (node) => node.name.replace('@ringside/', '');
  const unknown = options.project.find((name) => !nodes.some((node) => node.name === name || short(node) === name));
  if (unknown !== undefined) {
    console.error(`ringside: there is no project "${unknown}"; there are: ${nodes.map(short).sort().join(', ')}`);
    process.exit(2);
  }
  return nodes.filter((node) => options.project.some((name) => node.name === name || short(node) === name));
}

/** One Nx run over those of `projects` that have the target. `aside`: beside another run; what it prints comes at its end. */
async function jestThroughNx(target, file, projects, { aside = false } = {}) {
  const wanted = projects.filter((node) => node.data.targets?.[target]);
  if (wanted.length === 0) return;
  for (const node of wanted) {
    rmSync(join(root, node.data.root, file), { force: true });
    mkdirSync(join(root, node.data.root, 'dist'), { recursive: true });
  }
  const title = `\n── ${target}: ${wanted.map((node) => node.name.replace('@ringside/', '')).join(' ')}\n`;
  if (!aside) process.stdout.write(title);
  const { output } = await run(bin('nx'), ['run-many', '-t', target, '--parallel=1', '--output-style=static', '--projects', wanted.map(({ name }) => name).join(',')], { capture: aside, quiet: aside });
  if (aside) process.stdout.write(`${title}${output}`);
  for (const node of wanted) collect(node.name, target, join(root, node.data.root), file);
}

const projects = await askedProjects();
// Lint reads sources alone: it runs beside the build.
const [built] = await Promise.all([
  step('build', async () => (await run(process.execPath, ['tools/build/build.mjs'])).code === 0),
  step('lint', async () => {
    // Without a project graph (askedProjects has left it in Nx's cache), @nx/enforce-module-boundaries skips itself with no more than a warning.
    const { code, output } = await run(bin('eslint'), ['--max-warnings=0', '.'], { capture: true });
    return code === 0 && !output.includes('rule will be skipped');
  }),
]);
// Three lanes: the end-to-end tests, which mostly wait for messages; the whole machine's, which take the longest; all others.
const WHOLE_MACHINE = '@ringside/single-process';
await Promise.all([
  built ? jestThroughNx('e2e', 'dist/e2e-results.json', projects, { aside: true }) : void failures.push('end-to-end tests: not run, the build failed'),
  jestThroughNx('test', 'dist/test-results.json', projects.filter(({ name }) => name === WHOLE_MACHINE), { aside: true }),
  jestThroughNx('test', 'dist/test-results.json', projects.filter(({ name }) => name !== WHOLE_MACHINE)),
]);

if (options.long && existsSync(join(root, 'tools/oracle/run.mjs'))) {
  await step('oracles: host processor and QEMU', async () => (await run(process.execPath, ['tools/oracle/run.mjs', '--long'])).code === 0);
}

if (failures.length > 0) process.stdout.write(`\nFailed:\n${failures.map((failure) => `  ${failure}`).join('\n')}\n`);
process.stdout.write(`\n${((Date.now() - started) / 1000).toFixed(0)} s\n${passed} passed, ${failures.length} failed\n`);
process.exit(failures.length > 0 ? 1 : 0);
