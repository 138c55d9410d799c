import preset from '../../jest.preset.mjs';

// The built command line and services over a real nats-server: ./ringside test builds them first.
export default { ...preset, roots: ['<rootDir>/e2e'], testTimeout: 240_000 };
