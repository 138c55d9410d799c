/** Something a person can act on: one clear sentence, and what to do about it. Exit code 1; 2 when the command line itself is wrong. */
export class Failure extends Error {
  override name = 'Failure';

  constructor(message: string, readonly exitCode: 1 | 2 = 1) {
    super(message);
  }
}

export function usageFailure(message: string): Failure {
  return new Failure(message, 2);
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
