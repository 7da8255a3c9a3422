/** The methods between the decoder's layers, one item at a time, in float64 and by the book. */
import type { LlamaConfig } from '../../src/decoder/config.ts';
import type { Role } from '../../src/decoder/state.ts';
import type { LlamaWeights } from '../../src/decoder/weights.ts';
import type { Arrays } from '../support/random.ts';
import { topK } from './compress.ts';
import { llamaBlock } from './llama.ts';
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

export interface TwinRun {
  logits: Matrix;
  layers: Token[][];
}

export function runCut(
  weights: Arrays<LlamaWeights>,
  tokens: Token[],
  config: LlamaConfig,
  cut: Cut,
): TwinRun {
  let before: Matrix[] = [];
  const layers: Token[][] = [];
  const run = (l: number, from: Token[]) =>
    llamaBlock(
      weights.layers[l],
      from.map((token) => token.hidden),
      from.map((token) => token.position),
      config,
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
