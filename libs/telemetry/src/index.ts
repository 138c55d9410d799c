export * from './attributes.js';
export * from './delivery.js';
export * from './dispatch-spans.js';
export * from './exit-meter.js';
export * from './machine-tracer.js';
export * from './span-record.js';
export * from './span-store.js';
export * from './telemetry.js';
