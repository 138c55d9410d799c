export * from './create-monitor.js';
export * from './exit-registry.js';
export * from './monitor-ports.js';
export * from './transaction.js';
export * from './virtual-machine-monitor.js';
export { hardwareAssistedExits } from './hardware-assisted/registry.js';
export { hypercalls } from './paravirt/hypercalls/index.js';
export { paravirtExits } from './paravirt/exits/index.js';
