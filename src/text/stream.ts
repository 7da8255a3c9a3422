import type { Tokenizer } from './tokenizer.ts';

/** Turns tokens into text as they come. */
export interface TextStream {
  /** @returns the text that this token completes: possibly none, never half a character */
  push(token: number): string;
  /** @returns what was held back, now that nothing more comes */
  end(): string;
}

const REPLACEMENT = '\uFFFD'; // what a decoder writes for bytes that are not, or not yet, UTF-8

/**
 * One character may be several byte tokens, so text is held back while it ends in an unfinished one, or in a run of
 * fallback bytes, whose text a later byte can still undo. A token's text also depends on its neighbours (a leading
 * space), so each is decoded together with those before it, and the text that was already given is cut off.
 * @param prompt the tokens before the first, as context; their text is not repeated
 */
export function createTextStream(
  tokenizer: Pick<Tokenizer, 'decode' | 'isByte'>,
  prompt: readonly number[] = [],
): TextStream {
  const ids = [...prompt];
  let start = 0; // context begins here …
  let given = ids.length; // … and everything before here was given
  let inBytes = false;
  const pending = () => {
    const before = tokenizer.decode(ids.slice(start, given)).replace(/\uFFFD+$/, ''); // a prompt may end inside one
    return tokenizer.decode(ids.slice(start)).slice(before.length);
  };
  const give = (text: string) => {
    start = given;
    given = ids.length;
    return text;
  };
  return {
    push(token) {
      ids.push(token);
      inBytes = tokenizer.isByte(token) || (inBytes && tokenizer.decode([token]) === ''); // a special token ends no run
      if (inBytes) return '';
      const text = pending();
      return text === '' || text.endsWith(REPLACEMENT) ? '' : give(text);
    },
    end: () => give(pending()),
  };
}
