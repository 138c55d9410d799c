import type { ExecutionControlsView } from '@ringside/protocol';
import type { ExecutionControls } from '@ringside/x86';

/** Execution controls as `vm show --json` prints them. */
export function controlsView(controls: ExecutionControls): ExecutionControlsView {
  const { ioExiting, msrExiting, ...rest } = controls;
  return { ...rest, ioExiting: typeof ioExiting === 'string' ? ioExiting : exitingPorts(ioExiting), msrExiting: typeof msrExiting === 'string' ? msrExiting : 'bitmap' };
}

/** Bit n set: port n exits. */
function exitingPorts(bitmap: Uint8Array): { from: number; to: number }[] {
  const ranges: { from: number; to: number }[] = [];
  for (let port = 0; port < bitmap.length * 8; port++) {
    if ((bitmap[port >>> 3]! & (1 << (port & 7))) === 0) continue;
    const last = ranges.at(-1);
    if (last !== undefined && last.to === port - 1) last.to = port;
    else ranges.push({ from: port, to: port });
  }
  return ranges;
}
