export * from './elf32.js';
export * from './loader-error.js';
export * from './memory-effects.js';
export * from './multiboot.js';
export * from './xen-domain.js';
export * from './xen-notes.js';
export * from './xen-pv.js';
