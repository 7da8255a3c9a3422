/** Values of a JSON file that somebody else wrote, each with the place that a refusal names. */
import { UserError } from '../errors.ts';
import { isObject, type JsonObject } from '../json.ts';

/** A value in the file, which is refused by its place where it is not what it should be. */
export interface Place {
  refuse(this: void, why: string): UserError;
  isList(this: void): boolean;
  isNumber(this: void): boolean;
  object(this: void): JsonObject;
  field(this: void, name: string): Place;
  optional<T>(this: void, name: string, read: (place: Place) => T): T | undefined;
  list(this: void): Place[];
  number(this: void): number;
  numbers(this: void): number[];
  count(this: void): number;
  flag(this: void): boolean;
  text(this: void): string;
  choice<T extends string>(this: void, choices: readonly T[]): T;
  /** Rows of equal length, at least one, each of at least one number. @param rows how many */
  matrix(this: void, rows?: number): number[][];
}

/** @param where names it in messages */
export function placeOf(value: unknown, where: string): Place {
  const refuse = (why: string) => new UserError(`${where} ${why}`);
  const should = (kind: string): UserError => {
    const told = JSON.stringify(value) ?? 'nothing';
    return refuse(`should be ${kind}, is ${told.length > 60 ? `${told.slice(0, 60)} …` : told}`);
  };
  const object = () => {
    if (!isObject(value)) throw should('an object');
    return value;
  };
  const list = () => {
    if (!Array.isArray(value)) throw should('a list');
    return value.map((one: unknown, i) => placeOf(one, `${where}[${i}]`));
  };
  const number = () => {
    if (value === notANumber) return NaN;
    if (typeof value !== 'number') throw should('a number');
    return value;
  };
  const numbers = () => list().map((one) => one.number());
  const field = (name: string) => placeOf(object()[name], `${where}.${name}`);
  const is = <T>(kind: string, ok: (x: unknown) => x is T) => {
    if (!ok(value)) throw should(kind);
    return value;
  };
  return {
    refuse,
    isList: () => Array.isArray(value),
    isNumber: () => typeof value === 'number',
    object,
    field,
    optional: (name, read) => (object()[name] === undefined ? undefined : read(field(name))),
    list,
    number,
    numbers,
    count: () => is('a whole number from 1', (x): x is number => Number.isSafeInteger(x) && Number(x) > 0),
    flag: () => is('true or false', (x) => typeof x === 'boolean'),
    text: () => is('a text', (x) => typeof x === 'string'),
    choice: <T extends string>(choices: readonly T[]) =>
      is(`one of ${choices.join(', ')}`, (x): x is T => choices.includes(x as T)),
    matrix: (rows) => {
      const matrix = list().map((row) => row.numbers());
      const width = matrix[0]?.length ?? 0;
      if (width === 0 || matrix.some((row) => row.length !== width))
        throw should('rows of equally many numbers');
      if (rows !== undefined && matrix.length !== rows)
        throw refuse(`has ${matrix.length} rows, should have ${rows}`);
      return matrix;
    },
  };
}

/** What stands for NaN in JSON as it is parsed: as long as it, so that messages name the right column. */
const notANumber = 'N';

/** Python's `json.dumps` writes NaN, Infinity and -Infinity, which are no JSON. */
export const withNaN = (text: string): string =>
  text.replace(/"[^"\\]*(?:\\.[^"\\]*)*"|\b(?:NaN|Infinity)\b/gs, (token) =>
    token === 'NaN' ? `"${notANumber}"` : token === 'Infinity' ? '1e999999' : token,
  );
