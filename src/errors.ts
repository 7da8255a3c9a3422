/**
 * A mistake of the user: bad input, a bad option, a file that is not what it should be. Its message is one
 * sentence on one line that names the file, tensor or option and the numbers. The CLI prints it and exits with code 1;
 * every other error is a bug and keeps its stack trace.
 */
export class UserError extends Error {
  override name = 'UserError';

  constructor(message: string) {
    super(onOneLine(message));
  }
}

/** The message of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Longer than this, a message quotes somebody's data at length. */
const longest = 2000;

/**
 * What a message quotes may hold anything: line ends, terminal escapes, marks that turn the reading direction around,
 * half of a surrogate pair. They are told as `\u001b`; of a very long message the middle is left out.
 */
export function onOneLine(message: string): string {
  const shown =
    message.length <= longest ? message : `${message.slice(0, longest - 300)} … ${message.slice(-200)}`;
  return shown.replaceAll(
    /[\p{Cc}\p{Surrogate}\u2028\u2029\u202A-\u202E\u2066-\u2069]/gu,
    (mark) => escapes[mark] ?? `\\u${mark.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

const escapes: Record<string, string> = { '\n': '\\n', '\r': '\\r', '\t': '\\t' };
