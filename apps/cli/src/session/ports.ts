import { createServer } from 'node:net';
import { Failure } from '../failure.js';

/** A TCP port of the loopback interface that nothing listens on at this moment. */
export function freePort(): Promise<number> {
  return listenOnce(0);
}

/** Fails with a sentence that names the port when something else listens there. */
export async function requireFreePort(port: number, purpose: string): Promise<number> {
  try {
    return await listenOnce(port);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'EADDRINUSE') throw new Failure(`Port ${port} (${purpose}) is in use: stop what listens there, choose another port, or leave the port out to get a free one.`);
    if (code === 'EACCES') throw new Failure(`Port ${port} (${purpose}) needs privileges that this user does not have: choose a port above 1023.`);
    throw error;
  }
}

function listenOnce(port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(port, '127.0.0.1', () => {
      const address = server.address();
      const chosen = typeof address === 'object' && address !== null ? address.port : port;
      server.close(() => resolve(chosen));
    });
  });
}
