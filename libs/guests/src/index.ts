export * from './hostile-guest.js';
export * from './images.js';
export * from './probe-guest.js';
export * from './probe-run.js';
export * from './probes.js';
export * from './ringlet.js';
export * from './seeded-guest.js';
