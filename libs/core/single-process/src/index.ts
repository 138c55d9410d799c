export * from './single-process.js';
