export * from './bus.js';
export * from './effect.js';
export * from './exit.js';
export * from './mark.js';
export * from './vm-spec.js';
