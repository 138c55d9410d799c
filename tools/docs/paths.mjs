// Writes the numbers into docs/paths anew:  node tools/docs/paths.mjs [PAGE.md …]
// A block between ```text and ``` that stands under `<!-- generated: COMMAND -->` is what COMMAND prints. Commands run in a directory of their own, beside a
// comparison (compare.json), with the services up and a VM for each path that has booted and printed a page. `, of LABEL` behind a command that says ID: the id of that
// trace. apps/cli/e2e checks that what is the same on every run is up to date.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '../..');
const pages = join(root, 'docs/paths');
const directory = mkdtempSync(join(tmpdir(), 'ringside-docs-'));
symlinkSync(join(root, 'ringside'), join(directory, 'ringside'));
const environment = { ...process.env, RINGSIDE_STATE: join(directory, 'state'), COLUMNS: '110', NO_COLOR: '1' };
delete environment.FORCE_COLOR;

/** What a command line prints. */
function run(command, input = '') {
  const result = spawnSync('sh', ['-c', command], { cwd: directory, env: environment, input, encoding: 'utf8', maxBuffer: 1 << 26 });
  if (result.status !== 0) throw new Error(`${command}: exit code ${result.status}\n${result.stderr}`);
  return result.stdout;
}

const asked = process.argv.slice(2);
const VMS = { native: 'native', trapping: 'trap-and-emulate', paravirt: 'paravirt', translated: 'binary-translation', assisted: 'hardware-assisted' };

async function main() {
  run('./ringside up');
  environment.NATS_URL = JSON.parse(run('./ringside status --json')).natsUrl;
  run('./ringside compare --ops all,empty --repeat 1 --json > compare.json');
  const { results } = JSON.parse(readFileSync(join(directory, 'compare.json'), 'utf8'));
  for (const [name, path] of Object.entries(VMS)) run(`./ringside vm create --name ${name} --path ${path} --clock virtual --start`);
  for (const name of Object.keys(VMS)) await printAPage(name);

  const printed = new Map();
  for (const file of readdirSync(pages).filter((name) => name.endsWith('.md') && (asked.length === 0 || asked.includes(name)))) {
    const text = readFileSync(join(pages, file), 'utf8').replace(/<!-- generated: (.+?)(?:, of (.+?))? -->\n```text\n[\s\S]*?```/g, (_, command, label) => {
      if (!printed.has(command + label)) printed.set(command + label, run(label === undefined ? command : command.replace('ID', traceOf(results, label))).trimEnd());
      return `<!-- generated: ${command}${label === undefined ? '' : `, of ${label}`} -->\n\`\`\`text\n${printed.get(command + label)}\n\`\`\``;
    });
    writeFileSync(join(pages, file), text);
    console.log(`docs/paths/${file}`);
  }
}

/** Label: `print on native`, `in on hardware-assisted, nested`. */
function traceOf(results, label) {
  const [operation, setting] = label.split(' on ');
  const [path, mmu] = setting.split(', ');
  const result = results.find((one) => one.operation === operation && one.path === path && (mmu === undefined || one.mmu === mmu));
  if (result === undefined || result.traceId === null) throw new Error(`there is no trace of ${label}`);
  return result.traceId;
}

/** The machine is looked into only when it waits at its prompt again. */
async function printAPage(name) {
  const state = () => JSON.parse(run(`./ringside vm show ${name} --json`)).state;
  const waits = async () => {
    for (let tries = 0; state() !== 'halted'; tries++) {
      if (tries > 200) throw new Error(`${name} does not come to its prompt`);
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  };
  await waits();
  run(`./ringside vm console ${name}`, 'print page.txt\n');
  await waits();
}

try {
  await main();
} finally {
  spawnSync('sh', ['-c', './ringside down'], { cwd: directory, env: { ...environment, NATS_URL: '' }, stdio: 'ignore' });
  rmSync(directory, { recursive: true, force: true });
}
