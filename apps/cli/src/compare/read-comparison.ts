import { readFile } from 'node:fs/promises';
import type { Comparison } from './result.js';
import { Failure, messageOf } from '../failure.js';

/** What `compare --json` printed into a file. @throws Failure, a sentence, for anything else */
export async function readComparison(path: string): Promise<Comparison> {
  let value: unknown;
  try {
    value = JSON.parse(await readFile(path, 'utf8'));
  } catch (error) {
    throw new Failure((error as NodeJS.ErrnoException).code === 'ENOENT' ? `There is no file ${path}.` : `${path} cannot be read as JSON: ${messageOf(error)}.`);
  }
  if (!isComparison(value)) throw new Failure(`${path} is not what compare --json of this version prints (ringside.compare/1).`);
  return value;
}

/** The fields that recap and compare --from read; docs/schemas/compare-1.json says all of them. */
function isComparison(value: unknown): value is Comparison {
  if (!isObject(value) || value['schema'] !== 'ringside.compare/1' || typeof value['clock'] !== 'string' || !Array.isArray(value['results'])) return false;
  return value['results'].every((result: unknown) => isObject(result) && typeof result['operation'] === 'string' && typeof result['path'] === 'string' && typeof result['status'] === 'string'
    && (['repetitions', 'retired', 'executed', 'hypercalls'] as const).every((name) => Number.isFinite(result[name]))
    && isCounts(result['exits']) && isCounts(result['messages']) && isObject(result['wall']) && (['p50Ns', 'p99Ns', 'guestNs', 'busNs', 'handlersNs'] as const).every((name) => Number.isFinite((result['wall'] as Record<string, unknown>)[name]))
    && (result['cycles'] === null || Number.isFinite(result['cycles'])) && (result['translation'] === null || isCounts(result['translation'])));
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null;
const isCounts = (value: unknown): boolean => isObject(value) && Object.values(value).every((count) => Number.isFinite(count));
