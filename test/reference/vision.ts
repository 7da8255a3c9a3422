import type { ClipBlockConfig } from '../../src/vision/block.ts';
import type { ClipBlockWeights, ClipVisionWeights } from '../../src/vision/weights.ts';
import type { ClipVisionConfig } from '../../src/vision/config.ts';
import type { Arrays } from '../support/random.ts';
import { attend, mergeHeads, splitHeads } from './attention.ts';
import { activate, addRows, layerNorm, linear, type Matrix } from './ops.ts';

/** The patches of one picture [S, S, 3] in raster order, each flattened pixel by pixel: [P, patch·patch·3]. */
export function cutPatches(pixels: number[][][], patch: number): Matrix {
  const grid = Math.floor(pixels.length / patch);
  const patches: Matrix = [];
  for (let row = 0; row < grid; row++) {
    for (let column = 0; column < grid; column++) {
      const flat: number[] = [];
      for (let y = 0; y < patch; y++) {
        for (let x = 0; x < patch; x++) {
          for (let c = 0; c < 3; c++) flat.push(pixels[row * patch + y][column * patch + x][c]);
        }
      }
      patches.push(flat);
    }
  }
  return patches;
}

export function embedImage(
  weights: Arrays<ClipVisionWeights>,
  pixels: number[][][],
  config: ClipVisionConfig,
): Matrix {
  const patches = linear(cutPatches(pixels, config.patch_size), weights.patch_embedding);
  const { class_embedding: cls, pre_layrnorm } = weights;
  const tokens = addRows([...(cls ? [cls] : []), ...patches], weights.position_embedding);
  return pre_layrnorm ? layerNorm(tokens, pre_layrnorm, config.layer_norm_eps) : tokens;
}

/** One block: hidden [N, D] and the attention [H][N, N]; causal in the text tower. */
export function clipBlock(
  weights: Arrays<ClipBlockWeights>,
  hidden: Matrix,
  config: ClipBlockConfig,
  causal = false,
): { hidden: Matrix; attention: Matrix[] } {
  const { num_attention_heads: H, layer_norm_eps: eps, hidden_act } = config;
  const { q_proj, k_proj, v_proj, out_proj } = weights.self_attn;
  const x = layerNorm(hidden, weights.layer_norm1, eps);
  const { context, probabilities } = attend(
    splitHeads(linear(x, q_proj), H),
    splitHeads(linear(x, k_proj), H),
    splitHeads(linear(x, v_proj), H),
    causal,
  );
  const middle = addRows(hidden, linear(mergeHeads(context), out_proj));
  const y = linear(layerNorm(middle, weights.layer_norm2, eps), weights.mlp.fc1);
  return {
    hidden: addRows(middle, linear(activate(y, hidden_act), weights.mlp.fc2)),
    attention: probabilities,
  };
}

/** A whole tower over one picture: hidden[0 .. L] and attention[0 .. L − 1]. */
export function runClipVision(
  weights: Arrays<ClipVisionWeights>,
  pixels: number[][][],
  config: ClipVisionConfig,
): { hidden: Matrix[]; attention: Matrix[][] } {
  const hidden = [embedImage(weights, pixels, config)];
  const attention: Matrix[][] = [];
  for (const layer of weights.layers) {
    const block = clipBlock(layer, hidden.at(-1)!, config);
    hidden.push(block.hidden);
    attention.push(block.attention);
  }
  return { hidden, attention };
}

/** The [CLS] query's row of one layer's attention [H][N, N], without its own column: [H, P]. */
export const clsRow = (attention: Matrix[]): Matrix => attention.map((head) => head[0].slice(1));
