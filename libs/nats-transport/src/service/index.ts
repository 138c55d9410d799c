export * from './environment.js';
export * from './run-service.js';
export * from './service-runtime.js';
export * from './status.controller.js';
