import type { ClipTextConfig } from '../../src/vision/text-config.ts';
import type { ClipTextWeights } from '../../src/vision/text.ts';
import type { Arrays } from '../support/random.ts';
import { addRows, dot, layerNorm, type Matrix, type Vector } from './ops.ts';
import { clipBlock } from './vision.ts';

/** The text tower over one text: every hidden state before the final norm, and the states after it. */
export function runClipText(
  weights: Arrays<ClipTextWeights>,
  ids: number[],
  config: ClipTextConfig,
): { states: Matrix[]; hidden: Matrix } {
  const words = ids.map((id) => weights.token_embedding[id]);
  const states = [addRows(words, weights.position_embedding)];
  for (const layer of weights.layers) states.push(clipBlock(layer, states.at(-1)!, config, true).hidden);
  return { states, hidden: layerNorm(states.at(-1)!, weights.final_layer_norm, config.layer_norm_eps) };
}

/** x / |x| */
export const toUnitLength = (x: Vector): Vector => x.map((value) => value / Math.sqrt(dot(x, x)));
