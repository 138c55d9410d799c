import { FrameKind, Hop, beginFrame, readBody } from './frame-header.js';

/** What a guest printed: `offset` counts the VM's console bytes since `epoch` began, so a reader sees a gap and fetches it. */
export interface ConsoleOutput { epoch: number; offset: number; bytes: Uint8Array }

export function encodeConsoleOutput(output: ConsoleOutput): Uint8Array {
  const w = beginFrame(FrameKind.ConsoleOutput, Hop.DeviceModel, output.epoch, 0, 0, null);
  w.f64(output.offset);
  w.blob(output.bytes);
  return w.finish();
}

/** @throws ProtocolError */
export function decodeConsoleOutput(bytes: Uint8Array): ConsoleOutput {
  const { header, body: r } = readBody(bytes, FrameKind.ConsoleOutput);
  const output = { epoch: header.epoch, offset: r.quantity(), bytes: r.blob() };
  r.end();
  return output;
}
