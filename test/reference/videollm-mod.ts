/** VideoLLM-MoD, one prompt at a time, in float64 and by the book. */
import type { DecoderConfig } from '../../src/decoder/config.ts';
import type { LlamaWeights } from '../../src/decoder/weights.ts';
import type { Arrays } from '../support/random.ts';
import { llamaBlock } from './llama.ts';
import { linear, rmsNorm, type Matrix, type Vector } from './ops.ts';

/** Of each layer that has one: w and b. */
export type Scorers = Map<number, { w: Vector; b: number }>;

export interface PassingRun {
  logits: Matrix;
  /** Of every layer the places that went through, and what stood at each place before it. */
  through: number[][];
  before: Matrix[];
}

/**
 * @param frames of each token its frame, undefined of text
 * @param kept how many of so many tokens a frame keeps
 * @param watch told the scores of a frame, highest first, and how many of them stay
 */
export function runPassing(
  weights: Arrays<LlamaWeights>,
  embeddings: Matrix,
  frames: (number | undefined)[],
  config: DecoderConfig,
  scorers: Scorers,
  kept: (n: number) => number,
  { gated, watch }: { gated: boolean; watch: (sorted: Vector, k: number) => void },
): PassingRun {
  let x = embeddings;
  const through: number[][] = [];
  const before: Matrix[] = [];
  for (const [l, layer] of weights.layers.entries()) {
    const scorer = scorers.get(l);
    const scores = x.map((row) =>
      row.reduce((sum, value, i) => sum + value * (scorer?.w[i] ?? 0), scorer?.b ?? 0),
    );
    const best = (frame: number) => {
      const places = [...frames.keys()].filter((t) => frames[t] === frame);
      const order = places.toSorted((s, t) => scores[t] - scores[s] || s - t);
      const k = kept(places.length);
      watch(
        order.map((t) => scores[t]),
        k,
      );
      return order.slice(0, k);
    };
    const stay = new Set(
      scorer
        ? [...new Set(frames)].flatMap((frame) => (frame === undefined ? [] : best(frame)))
        : frames.keys(),
    );
    const places = [...frames.keys()].filter((t) => frames[t] === undefined || stay.has(t));
    const block = llamaBlock(
      layer,
      places.map((t) => x[t]),
      places,
      config,
    );
    before.push(x);
    through.push(places);
    x = x.map((row, t) => {
      const at = places.indexOf(t);
      if (at < 0) return row;
      const g = scorer && gated && frames[t] !== undefined ? 1 / (1 + Math.exp(-scores[t])) : 1;
      return row.map((value, i) => value + g * (block.hidden[at][i] - value));
    });
  }
  return { logits: linear(rmsNorm(x, weights.norm, config.rms_norm_eps), weights.lm_head), through, before };
}
