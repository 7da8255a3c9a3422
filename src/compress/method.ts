import type * as tf from '@tensorflow/tfjs-core';
import type { LayerHook } from '../decoder/state.ts';
import type { VisionAsk } from '../vision/clip.ts';
import type { MergeHook } from '../vision/merging.ts';

/** What a vision-side method may look at. */
export interface VisionFeatures {
  /** B, how many pictures, and P, how many patches each has. */
  batch: number;
  patches: number;
  /** F, the selected layer's output without [CLS], of every patch: [B, P, D]. The caller disposes it. */
  all(this: void): tf.Tensor3D;
  /**
   * F of the kept patches alone, the same rows: the selected layer's second half is computed for them only.
   * @param kept [B, U] int32
   * @returns [B, U, D]; the caller disposes it
   */
  at(this: void, kept: tf.Tensor2D): tf.Tensor3D;
  /** F of [CLS] itself, [B, 1, D]. The caller disposes it. */
  cls(this: void): tf.Tensor3D;
  /** The [CLS] row of each layer the method asked for, by layer: [B, H, P]. */
  clsAttention: Map<number, tf.Tensor3D>;
  /** The full attention of each layer the method asked for: [B, H, N, N]. */
  attention: Map<number, tf.Tensor4D>;
  /** The keys of each layer the method asked for, [CLS] first: [B, H, N, C]. */
  keys: Map<number, tf.Tensor4D>;
  /**
   * What the decoder would see of features: the projector, token by token.
   * @param features [B, U, D]
   * @returns [B, U, E]; the caller disposes it
   */
  project(this: void, features: tf.Tensor3D): tf.Tensor3D;
  /**
   * How alike each patch is to the question, for a method that {@link VisionMethod.readsQuestion}: the cosine of both in
   * CLIP's space.
   * @returns [B, P]; the caller disposes it
   */
  relevance(this: void): tf.Tensor2D;
}

/** Which of the tower's inner tensors a method wants, by layer; what {@link VisionFeatures} calls by the same names. */
export type TowerAsk = Pick<VisionAsk, 'clsAttention' | 'attention' | 'keys'>;

/** Where the features come from: what a method needs to say which attention it wants. */
export interface FeatureSource {
  layers: number;
  /** The deepest layer whose output is selected: 22 for `hidden[-2]` of 24 layers. */
  selectedLayer: number;
}

/** The same for a method that works inside the tower. */
export interface TowerSource extends FeatureSource {
  patches: number; // P
}

/** The same for a method that works between the decoder's layers. */
export interface DecoderSource extends FeatureSource {
  decoderLayers: number;
  /** E, the decoder's own, whatever else a state may carry. */
  decoderWidth: number;
  /** How many tokens the uncompressed picture takes in the prompt. */
  visualTokens: number;
}

/** What became of a picture's patches. */
export interface Fates {
  /** Those that are tokens by themselves, ascending. */
  kept: number[];
  /** How many tokens were made of several, or of none. */
  made: number;
  /** For each patch the token that it is the largest part of, by its place among the tokens; −1 for none. */
  groups: number[];
}

/** What a vision-side method returns. The caller disposes it. */
export interface Compressed {
  tokens: tf.Tensor3D; // [B, U, D]
  /** Which patches stayed, [B, U] int32 ascending; absent when tokens are new ones. */
  kept?: tf.Tensor2D;
  /** Of new tokens, for who wants to see it: what each of B pictures' patches became. */
  fates?: () => Fates[];
  /** What they were ranked by, [B, P], where the method ranks. */
  scores?: tf.Tensor2D;
}

/** A method's options are named values; the CLI and the evaluation list them without knowing them. */
export type MethodOptions = Record<string, number | string>;

interface MethodPage<Options extends MethodOptions> {
  name: string;
  /** Title and arXiv id. */
  paper: string;
  summary: string;
  defaults: Options;
  /** For each option, what it means; and the values it may have where they are names. */
  help: { [Name in keyof Options]: { text: string; choices?: readonly string[] } };
}

/** Compression before the decoder: features in, fewer features out. */
export interface VisionMethod<Options extends MethodOptions = MethodOptions> extends MethodPage<Options> {
  where: 'vision';
  /** Whether its choice depends on the question. Then it needs a CLIP whose text tower reads it. */
  readsQuestion?: boolean;
  /** Whether its tokens are new ones, which have no place in the uncut prompt. */
  makesTokens?: boolean;
  /**
   * The attention and keys this method needs, by layer.
   * @throws UserError for options that the tower cannot serve
   */
  asks(source: FeatureSource, options: Options): TowerAsk;
  /**
   * For a method that works inside the tower: what it does there. The tower then shows nothing of its insides, and
   * `features` are the tokens that are left.
   * @throws UserError for a budget or options that the tower cannot serve
   */
  merge?(source: TowerSource, budget: number, options: Options): MergeHook;
  /** @param budget U, how many tokens to keep, 1 ≤ U ≤ P */
  run(features: VisionFeatures, budget: number, options: Options): Promise<Compressed>;
}

/** Compression between the decoder's layers. */
export interface DecoderMethod<Options extends MethodOptions = MethodOptions> extends MethodPage<Options> {
  where: 'decoder';
  /**
   * What positions its tokens have: those of the uncut prompt, or, of new tokens, one made of theirs (`pooled`); the
   * text's are as they were.
   */
  positions: 'original' | 'pooled';
  /** @param budget U, of `visualTokens` */
  hook(source: DecoderSource, budget: number, options: Options): LayerHook;
}

export type Method = VisionMethod | DecoderMethod;
