export * from './create-monitor.js';
export * from './exit-registry.js';
export * from './monitor-ports.js';
export * from './transaction.js';
export * from './virtual-machine-monitor.js';
export { hardwareAssistedExits } from './hardware-assisted/registry.js';
