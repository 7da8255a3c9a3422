/** Where a text stops being JSON, in words: the engine's own messages are of several kinds, and some of several lines. */
import { UserError } from './errors.ts';

const maxDepth = 100;

/**
 * `JSON.parse`, whose refusal names line and column. What nests deeper than any honest file is refused too: `JSON.stringify`
 * and `String`, by which messages quote a value, overflow the stack on it.
 * @param what names the text in messages: a file
 * @throws UserError
 */
export function parseJson(text: string, what: string): unknown {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    const at = endOfJson(text);
    const before = text.slice(0, at);
    const [line, column] = [before.split('\n').length, at - before.lastIndexOf('\n')];
    const found = at < text.length ? `unexpected ${JSON.stringify(firstOf(text, at))}` : 'it ends too early';
    throw new UserError(`${what} is not JSON: line ${line}, column ${column}: ${found}`);
  }
  if (nestsDeeper(value, maxDepth)) throw new UserError(`${what} nests more than ${maxDepth} deep`);
  return value;
}

const nestsDeeper = (value: unknown, most: number): boolean =>
  typeof value === 'object' &&
  value !== null &&
  (most === 0 || Object.values(value).some((child) => nestsDeeper(child, most - 1)));

/** The character at a place, also where it takes two units. */
const firstOf = (text: string, at: number): string => String.fromCodePoint(text.codePointAt(at)!);

const blank = /[ \t\n\r]*/y;
const stringPart = /[^"\\\u0000-\u001f]+|\\(?:["\\/bfnrt]|u[\da-fA-F]{4})/y;
const scalar = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null/y;

/** The first place at which no JSON can go on; the text's end where it could. */
function endOfJson(text: string): number {
  const open: ('{' | '[')[] = [];
  let wants: 'value' | 'value or ]' | 'key' | 'key or }' | ':' | 'end' = 'value';
  let i = 0;
  const take = (sticky: RegExp): boolean => {
    sticky.lastIndex = i;
    const found = sticky.test(text);
    if (found) i = sticky.lastIndex;
    return found;
  };
  /** Part by part: one pattern for a whole string overflows the stack at millions of escapes. */
  const takeString = (): boolean => {
    const begin = i;
    if (text[i] !== '"') return false;
    i++;
    while (take(stringPart));
    if (text[i] === '"') i++;
    else i = begin;
    return i > begin;
  };
  for (;;) {
    take(blank);
    const char = text[i];
    if (wants === 'end' && char === ',' && open.length > 0) {
      wants = open.at(-1) === '{' ? 'key' : 'value';
      i++;
    } else if ((wants === 'end' || wants === 'key or }') && char === '}' && open.at(-1) === '{') {
      open.pop();
      wants = 'end';
      i++;
    } else if ((wants === 'end' || wants === 'value or ]') && char === ']' && open.at(-1) === '[') {
      open.pop();
      wants = 'end';
      i++;
    } else if (wants === ':' && char === ':') {
      wants = 'value';
      i++;
    } else if (wants.startsWith('key') && takeString()) {
      wants = ':';
    } else if (wants.startsWith('value') && (char === '{' || char === '[')) {
      open.push(char);
      wants = char === '{' ? 'key or }' : 'value or ]';
      i++;
    } else if (wants.startsWith('value') && (takeString() || take(scalar))) {
      wants = 'end';
    } else return i;
  }
}
