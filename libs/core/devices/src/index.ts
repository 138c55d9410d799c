export * from './create-board.js';
export * from './debug-port.js';
export * from './device-factory.js';
export * from './devices.js';
export * from './post-port.js';
export * from './shutdown-port.js';
export * from './uart-16550.js';
