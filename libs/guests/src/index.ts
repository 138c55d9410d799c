export * from './hostile-guest.js';
export * from './images.js';
export * from './ringlet.js';
export * from './seeded-guest.js';
