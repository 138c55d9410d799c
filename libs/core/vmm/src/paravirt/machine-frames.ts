const { imul } = Math;

/** The machine that a domain runs on has at least twice its memory: the rest belongs to neighbours, or is no memory at all. */
const MACHINE_FACTOR = 2;
/** The first MiB of a PC is not handed out. */
const FIRST_FRAME = 256;
const SEED = 0x52494e47;

/** Which machine frames a domain gets: a seeded choice in random order, so that nothing works by mistaking one for the other. */
export interface MachineFrames {
  /** Machine frame of each pseudo-physical frame. */
  readonly pfnToMfn: Uint32Array;
  /** Machine frames that ring -1 keeps for what it shows to the guest. */
  readonly xen: number[];
}

/** Size of the machine-frame space, in frames: a power of two. */
export function machineFrameSpace(domainFrames: number, xenFrames: number): number {
  let frames = 1024;
  while (frames < MACHINE_FACTOR * (domainFrames + xenFrames + FIRST_FRAME)) frames *= 2;
  return frames;
}

export function chooseMachineFrames(frames: number, domainFrames: number, xenFrames: number): MachineFrames {
  const order = Uint32Array.from({ length: frames - FIRST_FRAME }, (_, index) => FIRST_FRAME + index);
  const random = mulberry32(SEED);
  for (let index = order.length - 1; index > 0; index--) {
    const other = random() % (index + 1);
    const kept = order[index]!;
    order[index] = order[other]!;
    order[other] = kept;
  }
  return { pfnToMfn: order.slice(0, domainFrames), xen: [...order.slice(domainFrames, domainFrames + xenFrames)] };
}

/** A small generator of 32-bit numbers, the same on every machine. */
function mulberry32(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  };
}
