/**
 * A mistake of the user: bad input, a bad option, a file that is not what it should be. Its message is one
 * sentence that names the file, tensor or option and the numbers. The CLI prints it and exits with code 1;
 * every other error is a bug and keeps its stack trace.
 */
export class UserError extends Error {
  override name = 'UserError';
}

/** The message of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
