import { describe, expect, test } from '@jest/globals';
import { createServer, type AddressInfo } from 'node:net';
import { freePort, requireFreePort } from './ports.js';

describe('ports', () => {
  test('a port in use is refused by name, a free one accepted', async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    await expect(requireFreePort(port, 'NATS')).rejects.toThrow(`Port ${port} (NATS) is in use`);
    await new Promise((resolve) => server.close(resolve));
    await expect(requireFreePort(port, 'NATS')).resolves.toBe(port);
    expect(await freePort()).toBeGreaterThan(0);
  });
});
