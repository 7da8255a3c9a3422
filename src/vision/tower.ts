/** A vision tower as the story runs it, whatever it is made of; CLIP's and SigLIP's are two. */
import * as tf from '@tensorflow/tfjs-core';
import { free, scope } from '../tensor/scope.ts';
import { applyMatrix, type Row, type TokenMatrix } from '../tensor/token-matrix.ts';
import type { Trace } from '../tensor/trace.ts';
import { attendOpen, feedForward, openBlock } from './block.ts';
import { cellsOf, coarsenTower, shrinkPictures } from './coarse.ts';
import { runClipVision, type ClipVision, type VisionNeeds, type VisionOutput } from './clip.ts';
import { gridSide, prefixTokens } from './config.ts';
import { embedImage } from './embeddings.ts';
import { openFeatures, wholeFeatures, type Features } from './features.ts';
import { selectFeatures } from './select.ts';

/** What makes features of pictures. */
export interface VisionTower {
  /** Tokens that stand before the patches: 1 for [CLS], 0 in a tower without one, such as SigLIP's. */
  readonly prefixTokens: 0 | 1;
  /**
   * @param pixels [B, S, S, 3], preprocessed
   * @param needs what a method reads of the tower, and the hidden states that F is made of
   * @param inside what a method does there; after a cut nothing but F, of the deepest of the hidden states, is shown
   * @returns what was asked for; the caller disposes it
   */
  run(pixels: tf.Tensor4D, needs: SightNeeds, inside?: InTower, trace?: Trace): Promise<Sight>;
}

/** What a method reads of a tower, and `features`, the hidden states that F is made of, from 0. */
export type SightNeeds = Omit<VisionNeeds, 'unfinished'> & { features: readonly number[] };

/** What a tower shows of pictures. The caller disposes it. */
export type Sight = Pick<VisionOutput, 'attention' | 'clsAttention' | 'keys' | 'hidden'> & {
  B: number;
  features: Features;
  /** Of a picture that is seen as several, each by itself; see compress/views.ts. */
  apart?: Sight[];
};

/** The tokens of a layer between its attention and its MLP. */
export interface TowerView {
  keys: tf.Tensor4D; // [B, H, N, C] of the layer, [CLS] first
  /** How many patches each token stands for, [B][N]. */
  sizes: readonly (readonly number[])[];
}

/**
 * What becomes of a layer's patches: W over the tokens that there are, [CLS] not counted, which stays first.
 * @returns undefined where all stay
 */
export type TowerCut = (
  layer: number,
  view: TowerView,
) => TokenMatrix | undefined | Promise<TokenMatrix | undefined>;

/** Shows the whole tower a picture of fewer patches. */
export interface CoarserPicture {
  /** g, how many a side: from 1 to the model's own. */
  grid: number;
}

/** What a method does inside the tower: W in its layers, or another picture before them. */
export type InTower = TowerCut | CoarserPicture;

/** CLIP's or SigLIP's, as the story runs it. */
export const clipTower = (vision: ClipVision): VisionTower => ({
  prefixTokens: prefixTokens(vision.config),
  async run(pixels, sightNeeds, inside, trace) {
    if (typeof inside === 'object') return runCoarser(vision, pixels, sightNeeds, inside, trace);
    const { features: layers, ...needs } = sightNeeds;
    const shown = needs.hidden ?? [];
    const wanted = { ...needs, hidden: [...layers, ...shown], unfinished: layers.length === 1 };
    const { hidden, unfinished, ...insides } = inside
      ? await runCutting(vision, pixels, wanted, inside, trace)
      : runClipVision(vision, pixels, wanted, trace);
    const select = (states: VisionOutput['hidden']) => selectFeatures(states, layers, this.prefixTokens);
    const features = unfinished
      ? openFeatures(unfinished, this.prefixTokens, (last) => select(new Map([[layers[0], last]])))
      : wholeFeatures(select(hidden));
    for (const layer of layers) {
      if (shown.includes(layer)) continue;
      free(hidden.get(layer));
      hidden.delete(layer);
    }
    return { B: pixels.shape[0], features, hidden, ...insides };
  },
});

/**
 * The same tower, as it is for a picture of g × g patches, on this one resized. With g = G it is runClipVision, number by
 * number.
 */
async function runCoarser(
  vision: ClipVision,
  pixels: tf.Tensor4D,
  needs: SightNeeds,
  { grid: g }: CoarserPicture,
  trace?: Trace,
): Promise<Sight> {
  using own = scope();
  trace?.record('vision.cells', cellsOf(pixels.shape[0], gridSide(vision.config), g));
  const coarse = coarsenTower(vision, g);
  own(coarse.weights.position_embedding); // the others are the model's
  const small = own(shrinkPictures(pixels, vision.config, g));
  return await clipTower(coarse).run(small, needs, undefined, trace);
}

/**
 * The vision transformer, in which tokens become fewer from layer to layer:
 *
 *     x ← x + softmax(Q·Kᵀ/√C + log size)·V          a token made of s patches is attended to as s of them would be
 *     x ← W·x                                        size ← the sum of the sizes of what a token is made of
 *     x ← x + fc2(act(fc1(LayerNorm₂(x))))
 *
 * Where W changes nothing it is runClipVision, number by number.
 */
async function runCutting(
  { config, weights }: ClipVision,
  pixels: tf.Tensor4D,
  { hidden: needed = [] }: VisionNeeds,
  cut: TowerCut,
  trace?: Trace,
): Promise<VisionOutput> {
  using own = scope();
  const depth = Math.max(...needed);
  trace?.record('vision.pixels', pixels);
  let hidden = embedImage(weights, pixels, config);
  let sizes: TowerView['sizes'] = ones(hidden.shape);
  for (const [l, layer] of weights.layers.slice(0, depth).entries()) {
    using own = scope();
    own(hidden);
    trace?.record('vision.hidden.LL', hidden, l);
    const open = own(openBlock(layer, hidden, config));
    const keyBias = own(tf.tidy(() => tf.log<tf.Tensor2D>(tf.tensor2d(sizes as number[][]))));
    const { hidden: mixed } = own(attendOpen(layer, open, config, { keyBias }));
    trace?.record('vision.attended.LL', mixed, l);
    const W = await cut(l, { keys: open.keys, sizes });
    if (W) {
      trace?.record('vision.matrix.LL', W, l);
      sizes = addSizes(sizes, W);
    }
    hidden = feedForward(layer, W ? own(cutPatches(mixed, W)) : mixed, config);
  }
  own(hidden);
  trace?.record('vision.hidden.LL', hidden, depth);
  return own.keep({
    hidden: new Map([[depth, hidden]]),
    attention: new Map(),
    clsAttention: new Map(),
    keys: new Map(),
  });
}

/** Every token stands for itself. */
const ones = ([B, N]: readonly number[]): number[][] =>
  Array.from({ length: B }, () => Array.from({ length: N }, () => 1));

/** [CLS], where there is one, and W of the patches. @param tokens [B, N, D] */
const cutPatches = (tokens: tf.Tensor3D, W: TokenMatrix): tf.Tensor3D =>
  tf.tidy(() => {
    const [B, N, D] = tokens.shape;
    const before = N - W.columns;
    const cls = tf.slice(tokens, [0, 0, 0], [B, before, D]);
    const patches = tf.slice(tokens, [0, before, 0], [B, W.columns, D]);
    return tf.concat([cls, applyMatrix(W, patches)], 1);
  });

const addSizes = (sizes: TowerView['sizes'], { rows, columns }: TokenMatrix): TowerView['sizes'] =>
  rows.map((picture, b) => {
    const before = sizes[b].length - columns;
    const sum = (row: Row) => [...row.keys()].reduce((total, patch) => total + sizes[b][before + patch], 0);
    return [...sizes[b].slice(0, before), ...picture.map(sum)];
  });
