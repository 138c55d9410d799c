import { Hypercall, MULTICALL_ENTRY_BYTES } from '../abi.js';
import { Errno } from '../errno.js';
import type { HypercallEntry, HypercallRegistry } from './hypercall-registry.js';

/** These work on the frame of the hypercall itself, or would nest. */
const NOT_IN_MULTICALL: ReadonlySet<number> = new Set([Hypercall.iret, Hypercall.multicall]);
const WORDS = MULTICALL_ENTRY_BYTES / 4;

/** multicall(list, count): { u32 op, u32 result, u32 args[6] } each: one exit for many hypercalls. Each one's result is its own affair. */
export function multicall(registry: () => HypercallRegistry): HypercallEntry {
  return {
    number: Hypercall.multicall,
    name: 'multicall',
    summary: 'Carries out a list of hypercalls in one exit.',
    async call(exit, [list, count]) {
      for (let index = 0; index < count!; index++) {
        if (!exit.transaction.spend(4)) return -Errno.E2BIG;
        const at = list! + index * MULTICALL_ENTRY_BYTES;
        const entry = await exit.memory.read32(at, WORDS);
        const [operation] = entry as unknown as [number];
        const result = NOT_IN_MULTICALL.has(operation) ? -Errno.EINVAL : await registry().call(exit, operation, entry.slice(2));
        exit.memory.write32(at + 4, result >>> 0);
        if (exit.domain.stopped) break;
      }
      return 0;
    },
  };
}
