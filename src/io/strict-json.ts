/** JSON as a checkpoint may hold it: `JSON.parse`, refusing the things it forgives. */
import { UserError } from '../errors.ts';
import { parseJson } from '../json-syntax.ts';

/**
 * Parses JSON, refusing a key given twice in one object (JSON.parse would keep the last and say nothing) and
 * half of a surrogate pair, which is no text.
 *
 * @param what names the text in messages: `model.safetensors: the header`
 * @param numbers `'integers'` also refuses a number with a fraction or an exponent, even `2.0` and `2e0`
 * @throws UserError
 */
export function parseStrictJson(text: string, what: string, numbers: 'any' | 'integers' = 'any'): unknown {
  const value = parseJson(text, what);
  refuseWhatParseForgives(text, what, numbers);
  return value;
}

/** Walks over text already known to be JSON, so it need only tell strings, numbers and brackets apart. */
function refuseWhatParseForgives(text: string, what: string, numbers: 'any' | 'integers'): void {
  const open: { keys: Set<string>; key: string }[] = []; // the objects and arrays around position i
  let i = 0;
  while (i < text.length) {
    const char = text[i];
    if (char === '"') {
      const end = endOfString(text, i);
      const string = JSON.parse(text.slice(i, end)) as string;
      if (/\p{Surrogate}/u.test(string)) {
        throw new UserError(`${what} holds half of a surrogate pair in ${JSON.stringify(string)}`);
      }
      if (tokenAt(/\s*:/y, text, end)) {
        const object = open.at(-1)!;
        if (object.keys.has(string)) {
          const path = open.slice(0, -1).map(({ key }) => JSON.stringify(key));
          const where = path.length > 0 ? ` in ${path.join('.')}` : '';
          throw new UserError(`${what} has the key ${JSON.stringify(string)} twice${where}`);
        }
        object.keys.add(string);
        object.key = string;
      }
      i = end;
    } else if (/[-\d]/.test(char)) {
      const number = tokenAt(/[-+.\deE]+/y, text, i);
      if (numbers === 'integers' && !/^(0|-?[1-9]\d*)$/.test(number)) {
        throw new UserError(`${what} holds the number ${number} where only plain integers may be`);
      }
      i += number.length;
    } else {
      if (char === '{' || char === '[') open.push({ keys: new Set(), key: '' });
      if (char === '}' || char === ']') open.pop();
      i++;
    }
  }
}

/** The position after the closing quote of the string whose opening quote is at `start`. */
function endOfString(text: string, start: number): number {
  let i = start + 1;
  while (text[i] !== '"') i += text[i] === '\\' ? 2 : 1;
  return i + 1;
}

/** What a sticky pattern matches at a position; empty if nothing. */
function tokenAt(sticky: RegExp, text: string, position: number): string {
  sticky.lastIndex = position;
  return sticky.exec(text)?.[0] ?? '';
}
