/** Cases from a JSON file, as a port in another language writes them: `vtc check --json cases.json`. See README.md. */
import { UserError } from '../errors.ts';
import { isObject } from '../json.ts';
import { parseJson } from '../json-syntax.ts';
import { checkCuts, type LayerCuts, type LayerTokens } from './cut.ts';
import { checkMerge, type Merge, type WeightRow } from './merge.ts';
import { placeOf, withNaN, type Place } from './place.ts';
import { checkSelection, type Selection } from './selection.ts';
import type { Violation } from './violation.ts';

/** A case and what is wrong with it. */
export interface CheckedCase {
  kind: (typeof kinds)[number];
  name: string;
  violations: Violation[];
}

const kinds = ['selection', 'merge', 'cut'] as const;

/**
 * Reads cases and checks each.
 * @param text JSON, in which NaN and Infinity may stand as Python writes them
 * @param file names it in messages
 * @throws UserError naming the file and the place, for what is no case
 */
export function checkCases(text: string, file: string): CheckedCase[] {
  const root = parseJson(withNaN(text), file);
  const cases = isObject(root) ? root['cases'] : undefined;
  if (!Array.isArray(cases)) throw new UserError(`${file} should hold an object with a list of cases`);
  if (cases.length === 0) throw new UserError(`${file}: cases is empty`);
  return cases.map((one: unknown, i) => checkCase(placeOf(one, `${file}: cases[${i}]`), i));
}

function checkCase(at: Place, i: number): CheckedCase {
  const kind = at.field('kind').choice(kinds);
  const read = { selection: readSelection, merge: readMerge, cut: readCuts }[kind];
  const known = ['kind', 'name', ...fieldsOf[kind]];
  const stray = Object.keys(at.object()).find((name) => !known.includes(name));
  if (stray !== undefined)
    throw at.refuse(`has no field ${stray}: a ${kind} has ${fieldsOf[kind].join(', ')}`);
  const name = at.optional('name', (place) => place.text()) ?? `case ${i}`;
  return { kind, name, violations: read(at) };
}

const fieldsOf = {
  selection: ['kept', 'budget', 'patches', 'scores', 'attention'],
  merge: ['patches', 'weights', 'means', 'partition', 'features', 'tokens', 'tolerance'],
  cut: ['text', 'image', 'layers', 'positions'],
} as const;

function readSelection(at: Place): Violation[] {
  const selection: Selection = {
    kept: at.field('kept').numbers(),
    budget: at.field('budget').count(),
    patches: at.optional('patches', (place) => place.count()),
    scores: at.optional('scores', (place) => place.numbers()),
    attention: at.optional('attention', readAttention),
  };
  if ((selection.patches ?? selection.scores ?? selection.attention) === undefined) {
    throw at.refuse('should have patches, scores or attention');
  }
  const { patches, scores } = selection;
  if (patches !== undefined && scores && scores.length !== patches) {
    throw at.refuse(`has ${scores.length} scores of ${patches} patches`);
  }
  return checkSelection(selection);
}

function readAttention(at: Place): Selection['attention'] {
  const [first] = at.list();
  const isLayers = first?.isList() === true && first.list()[0]?.isList() === true;
  const layers = isLayers ? at.list().map((layer) => layer.matrix()) : [at.matrix()];
  const [P] = layers.map((heads) => heads[0].length);
  if (layers.some((heads) => heads.some((row) => row.length !== P))) {
    throw at.refuse('should be [H][P] or [K][H][P], all rows equally long');
  }
  return isLayers ? layers : layers[0];
}

function readMerge(at: Place): Violation[] {
  const P = at.field('patches').count();
  const merge: Merge = {
    patches: P,
    weights: at
      .field('weights')
      .list()
      .map((row) => readRow(row, P)),
    means: at.optional('means', (place) => place.flag()),
    partition: at.optional('partition', (place) => place.flag()),
    features: at.optional('features', (place) => place.matrix(P)),
    tokens: at.optional('tokens', (place) => place.matrix()),
    tolerance: at.optional('tolerance', (place) => place.number()),
  };
  const [D, E] = [merge.features, merge.tokens].map((rows) => rows?.[0].length);
  if ((D === undefined) !== (E === undefined))
    throw at.refuse('should have both features and tokens, or neither');
  if (D !== E) throw at.refuse(`has features of ${D} channels, but tokens of ${E}`);
  return checkMerge(merge);
}

function readRow(at: Place, P: number): WeightRow {
  if (!at.isList()) {
    return new Map(Object.keys(at.object()).map((patch) => [Number(patch), at.field(patch).number()]));
  }
  const row = at.numbers();
  if (row.length !== P) throw at.refuse(`has ${row.length} weights, should have ${P}, or be an object`);
  return row;
}

function readCuts(at: Place): Violation[] {
  const cuts: LayerCuts = {
    text: at.field('text').numbers(),
    image: at.field('image').numbers(),
    positions: at.optional('positions', (place) => place.choice(['original', 'contiguous'] as const)),
    layers: at.field('layers').list().map(readLayer),
  };
  return checkCuts(cuts);
}

/** A number alone is a layer's length. */
function readLayer(at: Place): LayerTokens {
  if (at.isNumber()) return { length: at.number() };
  return {
    tokens: at.optional('tokens', (place) => place.numbers()),
    length: at.optional('length', (place) => place.number()),
    cache: at.optional('cache', (place) => place.number()),
    positions: at.optional('positions', (place) => place.numbers()),
  };
}
