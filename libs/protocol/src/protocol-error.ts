/** What is wrong with a frame. `version`: another release of Ringside sent it. */
export type ProtocolFault = 'truncated' | 'magic' | 'version' | 'kind' | 'value' | 'trailing';

/** The only thing a decoder throws: the bytes at hand are not the frame that was expected. */
export class ProtocolError extends Error {
  override readonly name = 'ProtocolError';
  constructor(readonly fault: ProtocolFault, message: string) {
    super(message);
  }
}
