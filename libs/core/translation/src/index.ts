export * from './guest-instruction.js';
export { sideEntry } from './host-code.js';
export * from './lookup-stub.js';
export * from './monitor-data.js';
export * from './translate.js';
export * from './translation-cache.js';
export * from './treatment.js';
export * from './unit.js';
export * from './verify.js';
