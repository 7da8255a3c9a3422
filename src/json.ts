import { UserError } from './errors.ts';
import { parseJson } from './json-syntax.ts';

export type JsonObject = Record<string, unknown>;

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A text that holds one JSON object. @param file names it in messages @throws UserError when it is something else */
export function parseObject(text: string, file: string): JsonObject {
  const value = parseJson(text, file);
  if (!isObject(value)) throw new UserError(`${file} should hold a JSON object`);
  return value;
}

/**
 * Reads the fields of one config object, filling in defaults as transformers does: a key that is absent or null
 * takes its default, a key of the wrong kind is refused by name.
 */
export function fieldReader(json: JsonObject, file: string) {
  const get = <T>(
    key: string,
    fallback: T | undefined,
    kind: string,
    ok: (value: unknown) => value is T,
  ): T => {
    const value = json[key] ?? fallback;
    if (value === undefined) throw new UserError(`${file}: ${key} is missing`);
    if (!ok(value)) throw new UserError(`${file}: ${key} should be ${kind}, is ${JSON.stringify(value)}`);
    return value;
  };
  return {
    /** @param most what nobody's model exceeds: a number that sizes something is refused before it is made */
    count: (key: string, fallback?: number, most = 2 ** 24) => {
      const isCount = (x: unknown): x is number => Number.isSafeInteger(x) && Number(x) > 0;
      const value = get(key, fallback, 'a positive integer', isCount);
      if (value > most) throw new UserError(`${file}: ${key} should be at most ${most}, is ${value}`);
      return value;
    },
    integer: (key: string, fallback?: number) =>
      get(key, fallback, 'an integer', (x): x is number => Number.isSafeInteger(x)),
    number: (key: string, fallback?: number) =>
      get(key, fallback, 'a positive number', (x): x is number => Number.isFinite(x) && Number(x) > 0),
    flag: (key: string, fallback?: boolean) =>
      get(key, fallback, 'true or false', (x): x is boolean => typeof x === 'boolean'),
    choice: <T extends string>(key: string, choices: readonly T[], fallback?: T) =>
      get(key, fallback, `one of ${choices.join(', ')}`, (x): x is T => choices.includes(x as T)),
    text: (key: string, fallback?: string) =>
      get(key, fallback, 'a text', (x): x is string => typeof x === 'string'),
    /** A text or a number, as a text. */
    name: (key: string) =>
      String(
        get(key, undefined, 'a text or a number', (x): x is string | number =>
          /string|number/.test(typeof x),
        ),
      ),
    object: (key: string): JsonObject | undefined => {
      const value = json[key] ?? undefined;
      if (value !== undefined && !isObject(value)) throw new UserError(`${file}: ${key} should be an object`);
      return value;
    },
  };
}
