import { ConsoleIo, Hypercall } from '../abi.js';
import { Errno } from '../errno.js';
import type { HypercallEntry } from './hypercall-registry.js';

const { min } = Math;
/** Bytes that go in one bus cycle, and what they count as work: 96 KiB exhaust an exit. */
const CHUNK_BYTES = 4096;
const CHUNK_WORK = 2048;
/** Typed bytes come one by one, each with a bus cycle: the guest asks again for the rest. */
const MAX_READ = 256;

/** console_io(cmd, count, buffer): Xen's own console, for a guest's earliest messages. */
export const consoleIo: HypercallEntry = {
  number: Hypercall.console_io,
  name: 'console_io',
  summary: 'Writes to the serial console, or reads what was typed.',
  async call({ domain, memory, transaction }, [command, count, buffer]) {
    if (command === ConsoleIo.write) {
      for (let done = 0; done < count!; done += CHUNK_BYTES) {
        if (!transaction.spend(CHUNK_WORK)) return -Errno.E2BIG;
        await domain.console.send(domain, transaction, await memory.read(buffer! + done, min(CHUNK_BYTES, count! - done)));
      }
      return 0;
    }
    if (command === ConsoleIo.read) {
      const bytes = await domain.console.take(domain, transaction, min(count!, MAX_READ));
      memory.write(buffer!, bytes);
      return bytes.length;
    }
    return -Errno.ENOSYS;
  },
};
