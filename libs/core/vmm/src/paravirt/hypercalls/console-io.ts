import { ConsoleIo, Hypercall } from '../abi.js';
import { Errno } from '../errno.js';
import type { HypercallEntry } from './hypercall-registry.js';

const { min } = Math;
/** Bytes moved in one call; the guest asks again for the rest. */
const MAX_BYTES = 4096;

/** console_io(cmd, count, buffer): Xen's own console, for a guest's earliest messages. */
export const consoleIo: HypercallEntry = {
  number: Hypercall.console_io,
  name: 'console_io',
  summary: 'Writes to the serial console, or reads what was typed.',
  async call({ domain, memory, transaction }, [command, count, buffer]) {
    const length = min(count!, MAX_BYTES);
    if (command === ConsoleIo.write) {
      for (let done = 0; done < count!; done += MAX_BYTES) {
        if (!transaction.spend(MAX_BYTES / 16)) return -Errno.E2BIG;
        await domain.console.send(domain, transaction, await memory.read(buffer! + done, min(MAX_BYTES, count! - done)));
      }
      return 0;
    }
    if (command === ConsoleIo.read) {
      const bytes = await domain.console.take(domain, transaction, length);
      memory.write(buffer!, bytes);
      return bytes.length;
    }
    return -Errno.ENOSYS;
  },
};
