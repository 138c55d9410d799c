export * from './otlp-sink.js';
