export * from './xen-domain.js';
