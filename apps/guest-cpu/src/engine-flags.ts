import { setFlagsFromString } from 'node:v8';

// An instruction that faults or leaves throws through the run loop. While V8 has that loop in its baseline tier (Sparkplug), one such
// throw costs about 50 µs instead of 1 to 2: guests that fault often ran three times slower. Imported before everything else.
setFlagsFromString('--no-sparkplug');
