import preset from '../../../jest.preset.mjs';

// A process of its own for each file: in one that has run other machines before, the next is slower, some by half.
export default { ...preset, maxWorkers: 1, workerIdleMemoryLimit: 1 };
