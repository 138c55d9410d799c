export * from './nats-server-process.js';
export * from './memory-wire.js';
