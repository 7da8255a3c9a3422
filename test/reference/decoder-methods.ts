/** The methods between the decoder's layers, one item at a time, in float64 and by the book. */
import type { DecoderConfig } from '../../src/decoder/config.ts';
import type { Role } from '../../src/decoder/state.ts';
import type { LlamaWeights } from '../../src/decoder/weights.ts';
import type { Arrays } from '../support/random.ts';
import { topK } from './compress.ts';
import { llamaBlock, type Limits } from './llama.ts';
import { linear, mean, rmsNorm, type Matrix, type Vector } from './ops.ts';

/** A token with all that it carries. */
export interface Token {
  hidden: Vector;
  position: number;
  role: Role;
}

/** What a method may look at before a layer: its tokens, and the attention [H][T, T] of the layer before and of this. */
export interface Moment {
  layer: number;
  tokens: Token[];
  before: Matrix[];
  ahead: () => Matrix[];
}

/** The tokens that the layer runs on. */
export type Cut = (moment: Moment) => Token[];

/** What a layer withholds from the tokens that it runs on. */
export type Limit = (layer: number, tokens: Token[]) => Limits;

export interface TwinRun {
  logits: Matrix;
  layers: Token[][];
}

export function runCut(
  weights: Arrays<LlamaWeights>,
  tokens: Token[],
  config: DecoderConfig,
  cut: Cut,
  limit: Limit = () => ({}),
): TwinRun {
  let before: Matrix[] = [];
  const layers: Token[][] = [];
  const run = (l: number, from: Token[]) =>
    llamaBlock(
      weights.layers[l],
      from.map((token) => token.hidden),
      from.map((token) => token.position),
      config,
      limit(l, from),
    );
  for (const layer of weights.layers.keys()) {
    const now = tokens;
    tokens = cut({ layer, tokens, before, ahead: () => run(layer, now).attention });
    layers.push(tokens);
    const { hidden, attention } = run(layer, tokens);
    tokens = tokens.map((token, t) => ({ ...token, hidden: hidden[t] }));
    before = attention;
  }
  const last = tokens.map((token) => token.hidden);
  return { logits: linear(rmsNorm(last, weights.norm, config.rms_norm_eps), weights.lm_head), layers };
}

/** How far the last kept score stands above the first dropped one: float32 may choose otherwise where it is tiny. */
export type Watch = (scores: Vector, U: number) => void;

const imageIndices = (tokens: Token[]): number[] =>
  [...tokens.keys()].filter((t) => tokens[t].role === 'image');

/** Text stays; of the image tokens, in order, those with the best scores. */
function keepBest(tokens: Token[], score: (t: number) => number, U: number, watch: Watch): Token[] {
  const image = imageIndices(tokens);
  if (image.length <= U) return tokens;
  const scores = image.map(score);
  watch(scores, U);
  const kept = topK(scores, U).map((i) => image[i]);
  return tokens.filter((token, t) => token.role === 'text' || kept.includes(t));
}

/** Head mean of one query's attention to token t. */
const given = (attention: Matrix[], query: number, t: number): number =>
  mean(attention.map((head) => head[query][t]));

export const fastv =
  (k: number, rows: 'last' | 'all', U: number, watch: Watch): Cut =>
  ({ layer, tokens, before }) => {
    if (layer !== k) return tokens;
    const queries = rows === 'last' ? [tokens.length - 1] : [...tokens.keys()];
    return keepBest(tokens, (t) => mean(queries.map((query) => given(before, query, t))), U, watch);
  };

/** @param places of the image tokens that stay, by where they stand among them */
export const randomInDepth =
  (k: number, places: readonly number[]): Cut =>
  ({ layer, tokens }) => {
    if (layer !== k) return tokens;
    const image = tokens.filter(({ role }) => role === 'image');
    const stay = new Set(places.map((place) => image[place]));
    return tokens.filter((token) => token.role === 'text' || stay.has(token));
  };

export const vtw =
  (k: number): Cut =>
  ({ layer, tokens }) =>
    layer === k ? tokens.filter(({ role }) => role === 'text') : tokens;

/** @param counts how many image tokens each layer may hold, where a cut stands before it */
export const pyramiddrop =
  (counts: Map<number, number>, watch: Watch): Cut =>
  ({ layer, tokens, ahead }) => {
    const U = counts.get(layer);
    if (U === undefined) return tokens;
    const attention = ahead();
    return keepBest(tokens, (t) => given(attention, tokens.length - 1, t), U, watch);
  };

/** The mean of some tokens, at a position and in a role of its own. */
const merge = (tokens: Token[], position: number): Token => ({
  hidden: tokens[0].hidden.map((_, e) => mean(tokens.map(({ hidden }) => hidden[e]))),
  position,
  role: 'image',
});

export const llavolta =
  (k: number, U: number): Cut =>
  ({ layer, tokens }) => {
    const image = tokens.filter(({ role }) => role === 'image');
    if (layer !== k || image.length <= U) return tokens;
    const pooled = Array.from({ length: U }, (_, u) => {
      const group = image.filter((_, i) => i >= Math.floor((u * image.length) / U)).slice(0);
      const end = Math.floor(((u + 1) * image.length) / U) - Math.floor((u * image.length) / U);
      const members = group.slice(0, end);
      return merge(members, Math.floor(mean(members.map(({ position }) => position))));
    });
    const first = tokens.findIndex(({ role }) => role === 'image');
    const text = tokens.filter(({ role }) => role === 'text');
    return [...text.slice(0, first), ...pooled, ...text.slice(first)];
  };

/** DPC-KNN, with a centre first in each group; ties to the earlier token. */
export function densityPeaks(x: Matrix, c: number, watch: Watch): number[][] {
  const D = x.map((a) => x.map((b) => Math.hypot(...a.map((v, e) => v - b[e])) / Math.sqrt(a.length)));
  const rho = D.map((row) => {
    const near = [...row].sort((a, b) => a - b).slice(0, c);
    return Math.exp(-mean(near.map((d) => d * d)));
  });
  const gamma = x.map((_, i) => {
    let delta = Math.max(...D.flat());
    for (const j of x.keys()) {
      if (rho[j] > rho[i] || (rho[j] === rho[i] && j < i)) delta = Math.min(delta, D[i][j]);
    }
    return delta * rho[i];
  });
  watch(gamma, c);
  const byScore = [...x.keys()].sort((i, j) => gamma[j] - gamma[i] || i - j);
  const centres = byScore.slice(0, c).sort((i, j) => i - j); // of equally near ones the earlier gets the token
  return centres.map((centre) => [
    centre,
    ...[...x.keys()].filter((i) => {
      if (centres.includes(i)) return false;
      const distances = centres.map((other) => D[i][other]);
      return centres[distances.indexOf(Math.min(...distances))] === centre;
    }),
  ]);
}

/**
 * @param plan before which layers a cut stands, and how many tokens it keeps, pools, and merges the pool into
 */
export function sparsevlm(
  plan: Map<number, (P: number) => { kept: number; pool: number; merged: number }>,
  watch: Watch,
): Cut {
  let raters: number[] = []; // positions
  return ({ layer, tokens, before }) => {
    const image = imageIndices(tokens);
    if (layer === 0) {
      const text = [...tokens.keys()].filter((t) => t > Math.max(...image));
      const rows = image.map((v) => {
        const products = text.map((q) =>
          tokens[v].hidden.reduce((sum, x, e) => sum + x * tokens[q].hidden[e], 0),
        );
        const sum = products.reduce((total, x) => total + Math.exp(x), 0);
        return products.map((x) => Math.exp(x) / sum);
      });
      const m = text.map((_, i) => mean(rows.map((row) => row[i])));
      const middle = mean(m);
      if (m.length > 1) for (const x of m) watch([Math.max(x, middle), Math.min(x, middle)], 1);
      raters = text.filter((_, i) => m.length === 1 || m[i] >= middle).map((t) => tokens[t].position);
      if (text.length === 0) raters = [tokens.at(-1)!.position];
    }
    const split = plan.get(layer)?.(image.length);
    if (!split || image.length <= split.kept + split.merged) return tokens;
    const queries = [...tokens.keys()].filter((t) => raters.includes(tokens[t].position));
    const scores = image.map((t) => mean(queries.map((query) => given(before, query, t))));
    watch(scores, split.kept);
    watch(scores, split.kept + split.pool);
    const kept = split.kept > 0 ? topK(scores, split.kept) : [];
    const pool = topK(scores, split.kept + split.pool).filter((i) => !kept.includes(i));
    const clusters =
      split.merged > 0
        ? densityPeaks(
            pool.map((i) => tokens[image[i]].hidden),
            split.merged,
            watch,
          )
        : [];
    const centres = new Map(
      clusters.map((cluster) => [image[pool[cluster[0]]], cluster.map((i) => tokens[image[pool[i]]])]),
    );
    return tokens.flatMap((token, t) => {
      if (token.role === 'text' || kept.includes(image.indexOf(t))) return [token];
      const cluster = centres.get(t);
      return cluster ? [merge(cluster, token.position)] : [];
    });
  };
}

/**
 * @param inactive `layer.head` of the heads that see no image token
 * @param release with zeros after the softmax, from layer `last` on for every head; else before it, and a token sees itself
 */
export const yopo =
  (window: number, ratio: number, inactive: string[], M: number, release?: { last: number }): Limit =>
  (layer, tokens) => {
    const image = imageIndices(tokens);
    const side = Math.floor(Math.sqrt(image.length));
    const place = (t: number) => image.indexOf(t) - (image.length - side * side); // below 0: in no grid
    const isImage = (t: number) => tokens[t].role === 'image';
    const onGrid = (t: number) => isImage(t) && place(t) >= 0;
    const near = (i: number, j: number) => {
      const [p, q] = [place(i), place(j)];
      const [rows, columns] = [Math.floor(p / side) - Math.floor(q / side), (p % side) - (q % side)];
      return Math.max(Math.abs(rows), Math.abs(columns)) <= (window - 1) / 2;
    };
    const off = (h: number) => inactive.includes(`${layer}.${h}`);
    const neurons = (t: number) => (isImage(t) ? Math.floor(M / ratio) : M);
    const both = (i: number, j: number) => window > 0 && onGrid(i) && onGrid(j);
    if (!release) {
      const sees = (h: number, i: number, j: number) =>
        j <= i && !(i !== j && isImage(j) && off(h)) && (!both(i, j) || near(i, j));
      return { sees, neurons };
    }
    return {
      sees: (_, i, j) => (both(i, j) ? near(i, j) : j <= i),
      weights: (h, j) => +!(isImage(j) && (off(h) || layer >= release.last)),
      heads: (h, i) => +!(isImage(i) && off(h)),
      neurons,
    };
  };
