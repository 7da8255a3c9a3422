/** Where a text stops being JSON, in words: the engine's own messages are of several kinds, and some of several lines. */
import { UserError } from './errors.ts';

/**
 * `JSON.parse`, whose refusal names line and column.
 * @param what names the text in messages: a file
 * @throws UserError
 */
export function parseJson(text: string, what: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    const at = endOfJson(text);
    const before = text.slice(0, at);
    const [line, column] = [before.split('\n').length, at - before.lastIndexOf('\n')];
    const found = at < text.length ? `unexpected ${JSON.stringify(firstOf(text, at))}` : 'it ends too early';
    throw new UserError(`${what} is not JSON: line ${line}, column ${column}: ${found}`);
  }
}

/** The character at a place, also where it takes two units. */
const firstOf = (text: string, at: number): string => String.fromCodePoint(text.codePointAt(at)!);

const blank = /[ \t\n\r]*/y;
const string = /"[^"\\\u0000-\u001f]*(?:\\(?:["\\/bfnrt]|u[\da-fA-F]{4})[^"\\\u0000-\u001f]*)*"/y;
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
    } else if (wants.startsWith('key') && take(string)) {
      wants = ':';
    } else if (wants.startsWith('value') && (char === '{' || char === '[')) {
      open.push(char);
      wants = char === '{' ? 'key or }' : 'value or ]';
      i++;
    } else if (wants.startsWith('value') && (take(string) || take(scalar))) {
      wants = 'end';
    } else return i;
  }
}
