export * from './seeded-guest.js';
