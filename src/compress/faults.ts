/** What can be wrong with a choice, in words that follow a verb's subject: `choose kept 24 patches of picture 0, …`. */
import * as tf from '@tensorflow/tfjs-core';
import type { DecoderState, LayerHook, LayerLimits, LayerPass } from '../decoder/state.ts';
import { pickedBy, type TokenMatrix } from '../tensor/token-matrix.ts';

/** One thing that is wrong with picked places. */
export interface PickFault {
  property: 'count' | 'range' | 'distinct' | 'ascending';
  message: string;
}

/** What a message calls the tokens, and whose they are: ` of picture 0`. */
export interface Naming {
  one: string;
  many: string;
  of?: string;
}
const patchNames: Naming = { one: 'patch', many: 'patches' };

/**
 * What is wrong with the places that were picked of P, each kind of fault once.
 * @param U how many there should be; any number where it is left out
 */
export function faultsOfPicks(
  kept: readonly number[],
  { P, U = kept.length }: { P: number; U?: number },
  { one, many, of = '' }: Naming = patchNames,
): PickFault[] {
  const faults: PickFault[] = [];
  const add = (property: PickFault['property'], message: string) => faults.push({ property, message });
  if (kept.length !== U) {
    add('count', `kept ${kept.length} ${kept.length === 1 ? one : many}${of}, should be ${U}`);
  }
  const stray = kept.find((p) => !Number.isInteger(p) || p < 0 || p >= P);
  if (stray !== undefined) add('range', `kept ${one} ${stray}${of}, but they are 0 to ${P - 1}`);
  const known = new Set<number>();
  const again = kept.find((p) => known.size === known.add(p).size);
  if (again !== undefined) add('distinct', `kept ${one} ${again}${of} twice`);
  const fall = kept.findIndex((p, i) => i > 0 && p < kept[i - 1]);
  if (fall > 0) {
    add('ascending', `kept ${one} ${kept[fall - 1]}${of} before ${kept[fall]}: raster order is ascending`);
  }
  return faults;
}

const isOrder = (property: PickFault['property']) => property === 'distinct' || property === 'ascending';

/** What is wrong with the order of a W that picks and nothing else: each token once, in raster order. */
export function faultOfOrder(W: TokenMatrix, naming: Naming = patchNames): string | undefined {
  const faults = pickedBy(W)?.flatMap((kept, b) =>
    faultsOfPicks(kept, { P: W.columns }, { ...naming, of: ` of picture ${b}` }),
  );
  return faults?.find(({ property }) => isOrder(property))?.message;
}

/** What a W should be. */
export interface Expected {
  B: number;
  /** P, the tokens that it is over. */
  columns: number;
  /** How many it leaves, where that is known, and at most, where that is. */
  rows?: number;
  atMost?: number;
  /** Whether each row should be a single 1. */
  picks: boolean;
}

/** What is wrong with W, the first of it; undefined where nothing is. */
export function faultOfMatrix(
  W: unknown,
  expected: Expected,
  naming: Naming = patchNames,
): string | undefined {
  const { B, columns, rows, atMost = columns, picks } = expected;
  if (W instanceof tf.Tensor) {
    return 'gave a tensor as W, should be a TokenMatrix: picking(kept, P) or matrixOf(rows, P) makes one';
  }
  if (!isMatrix(W)) return 'gave no W: picking(kept, P) or matrixOf(rows, P) makes one';
  if (W.rows.length !== B) return `gave a W of ${W.rows.length} pictures, should be ${B}`;
  if (W.columns !== columns) return `gave a W over ${W.columns} ${naming.many}, should be ${columns}`;
  const picked = pickedBy(W);
  for (const [b, picture] of W.rows.entries()) {
    const of = ` of picture ${b}`;
    if (picked) {
      const faults = faultsOfPicks(picked[b], { P: columns, U: rows }, { ...naming, of });
      const fault = faults.find(({ property }) => !isOrder(property));
      if (fault) return fault.message;
    }
    const count = `made ${picture.length} tokens${of}, should be`;
    if (rows !== undefined && picture.length !== rows) return `${count} ${rows}`;
    if (picture.length > atMost) return `${count} ${atMost} at most`;
    if (picture.length !== W.rows[0].length) return `${count} ${W.rows[0].length} as of picture 0`;
    for (const [u, row] of picture.entries()) {
      const fault = faultOfRow(row, columns, naming.one);
      if (fault) return `${fault} in row ${u}${of}`;
      if (picks && !picked && (row.size !== 1 || row.values().next().value !== 1)) {
        return `made row ${u}${of} of ${formatRow(row, naming)}, but the method does not say makesTokens: true`;
      }
    }
  }
  const shape = [B, W.rows[0].length, columns];
  return String(W.shape) === String(shape)
    ? undefined
    : `gave a W whose shape is [${W.shape}], not [${shape}]`;
}

const isMatrix = (W: unknown): W is TokenMatrix =>
  typeof W === 'object' &&
  W !== null &&
  'rows' in W &&
  Array.isArray(W.rows) &&
  W.rows.every((picture) => Array.isArray(picture) && picture.every((row) => row instanceof Map));

function faultOfRow(row: ReadonlyMap<number, number>, columns: number, one: string): string | undefined {
  if (row.size === 0) return `named no ${one}`;
  for (const [token, weight] of row) {
    if (!Number.isInteger(token) || token < 0 || token >= columns) {
      return `named ${one} ${token}, but they are 0 to ${columns - 1},`;
    }
    if (!Number.isFinite(weight)) return `gave ${one} ${token} the weight ${weight}`;
  }
  return undefined;
}

const formatRow = (row: ReadonlyMap<number, number>, { one, many }: Naming): string =>
  row.size === 1 ? `one ${one} with the weight ${[...row.values()][0]}` : `${row.size} ${many}`;

/** What is wrong with the scores that patches were ranked by: B arrays of P finite numbers. */
export function faultOfScores(scores: unknown, B: number, P: number): string | undefined {
  if (scores === undefined) return undefined;
  if (scores instanceof tf.Tensor) return 'gave scores as a tensor, should be an array of each picture';
  const isRow = (row: unknown): row is ArrayLike<number> => ArrayBuffer.isView(row) || Array.isArray(row);
  if (!Array.isArray(scores) || !scores.every(isRow)) return 'gave scores that are no arrays of numbers';
  if (scores.length !== B) return `gave scores of ${scores.length} pictures, should be ${B}`;
  for (const [b, row] of scores.entries()) {
    if (row.length !== P) return `gave ${row.length} scores of picture ${b}, should be ${P}`;
    const bad = Array.from(row).findIndex((score) => !Number.isFinite(score));
    if (bad >= 0) return `gave patch ${bad} of picture ${b} the score ${row[bad]}`;
  }
  return undefined;
}

/** What is wrong with a layer's pass: of each item equally many places, ascending, every text among them. */
export function faultOfPass(pass: unknown, { roles, hidden }: DecoderState): string | undefined {
  if (typeof pass !== 'object' || pass === null) return `returned ${String(pass)}, should be { places }`;
  const { places, withheld } = pass as Partial<LayerPass>;
  const [B, T] = [roles.length, hidden.shape[1]];
  if (!Array.isArray(places) || places.length !== B || !places.every(Array.isArray)) {
    return `gave no places of each of ${B} items`;
  }
  for (const [b, row] of places.entries()) {
    if (row.length !== places[0].length)
      return `gave ${row.length} places of item ${b}, ${places[0].length} of item 0`;
    const bad = row.find((t, i) => !Number.isInteger(t) || t < 0 || t >= T || t <= (row[i - 1] ?? -1));
    if (bad !== undefined) return `gave place ${bad} of item ${b}: places are 0 to ${T - 1}, ascending`;
    const text = roles[b].findIndex((role, t) => role === 'text' && !row.includes(t));
    if (text >= 0) return `lets the text at place ${text} of item ${b} pass by`;
  }
  const shape = [B, places[0].length, 1];
  return withheld === undefined || withheld.shape.join() === shape.join()
    ? undefined
    : `gave withheld of the shape [${withheld.shape.join(', ')}], should be [${shape.join(', ')}]`;
}

/** What a limit is asked with. */
export type LimitArguments = Parameters<NonNullable<LayerHook['limit']>>;

/** What is wrong with a layer's limits: each is broadcast to the shape that {@link LayerLimits} names. */
export function faultOfLimits(
  limits: LayerLimits | undefined,
  [layer, { hidden, roles }, past, { heads, neurons }]: LimitArguments,
): string | undefined {
  if (hidden.isDisposed) return 'limit disposed hidden, which was not its own';
  if (typeof limits !== 'object' || limits === null) {
    return `limit returned ${String(limits)}, should be an object`;
  }
  const [B, T] = [roles.length, hidden.shape[1]];
  const shapes: Record<keyof LayerLimits, number[]> = {
    mask: [B, heads, T, past + T],
    weights: [B, heads, T, past + T],
    heads: [B, heads, T, 1],
    neurons: [B, T, neurons],
  };
  for (const [name, full] of Object.entries(shapes)) {
    const given: unknown = limits[name as keyof LayerLimits];
    if (given === undefined) continue;
    const shape: number[] | undefined = given instanceof tf.Tensor ? (given as tf.Tensor).shape : undefined;
    if (shape?.length === full.length && shape.every((n, i) => n === full[i] || n === 1)) continue;
    const is = shape ? `of the shape [${shape.join(', ')}]` : 'as no tensor';
    return `limit gave ${name} ${is}, should be [${full.join(', ')}] or 1 in places, in layer ${layer}`;
  }
  return undefined;
}

/** What is wrong with tokens that a merger has made. @param rows B and U */
export function faultOfTokens(tokens: unknown, rows: readonly number[]): string | undefined {
  if (tokens === undefined) return undefined;
  const should = `should be a tensor of ${rows.join(' × ')} × the features' width`;
  const shape = tokens instanceof tf.Tensor ? (tokens as tf.Tensor).shape : undefined;
  if (!shape) return `returned ${JSON.stringify(tokens)} as tokens, ${should}`;
  const fits = shape.length === 3 && shape.slice(0, 2).join() === rows.join();
  return fits ? undefined : `returned tokens of ${shape.join(' × ')}, ${should}`;
}
