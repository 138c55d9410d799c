export * from './execution-controls.js';
export * from './exit-reason.js';
export * from './step.js';
