import type * as tf from '@tensorflow/tfjs-core';
import type { Llama } from '../decoder/llama.ts';
import type { NumberToken } from '../decoder/number-token.ts';
import type { LayerHook } from '../decoder/state.ts';
import type { Views } from '../image/views.ts';
import type { Projector } from '../projector.ts';
import type { TokenMatrix } from '../tensor/token-matrix.ts';
import type { TraceName } from '../tensor/trace.ts';
import type { VisionNeeds } from '../vision/clip.ts';
import type { InTower } from '../vision/tower.ts';

/**
 * Where a method acts, in data order: between the tower's layers, before the decoder, between the decoder's layers, and on
 * what the decoder says.
 */
export const stages = ['tower', 'before', 'between', 'output'] as const;
/** One of {@link stages}. */
export type Stage = (typeof stages)[number];

/** The same in words. */
export const stageNames: Record<Stage, string> = {
  tower: 'inside the vision tower',
  before: 'before the decoder',
  between: 'between the decoder’s layers',
  output: 'on the decoder’s output',
};

/** What a method may know of the model before it runs. */
export interface Source {
  /** The tower's layers, and the deepest one whose output is selected: 22 for `hidden[-2]` of 24. */
  layers: number;
  selectedLayer: number;
  /** The hidden states that F is made of, side by side: more than one in checkpoints that join several. */
  featureLayers: readonly number[];
  /** Tokens that stand before the patches in the tower: 1 for [CLS], 0 in a tower without one. */
  prefixTokens: 0 | 1;
  /** P, how many tokens of each picture come to the method. */
  patches: number;
  /** G, the side of the square that they are of; absent where a method before has chosen among them. */
  grid?: number;
  /** How many tokens the picture takes in the prompt where this method changes nothing: P, and [CLS] where it is kept. */
  visualTokens: number;
  decoderLayers: number;
  /** F, where the decoder reads the tokens of so many pictures and the budget is each one's; 1 where left out. */
  frames?: number;
  /** Where the picture is seen as several, which: then a method before the decoder is asked in each by itself. */
  views?: Views;
}

/** What a method may need besides the model; see {@link Method.resources}. */
export interface Resources {
  /** Each picture's question in tokens of CLIP's text tower. */
  questions?: readonly number[][];
  /** Each picture's number, for who draws by chance: 0, 1, … where nobody counts them. */
  pictures?: readonly number[];
  /** How many pictures each prompt has; 1 where left out. */
  frames?: number;
}

/** What the tower has made of B pictures, for a method to choose by. */
export interface Seen {
  /** How many pictures. */
  B: number;
  /** F, the selected layer's output without [CLS]: [B, P, D]. */
  F: tf.Tensor3D;
  /** The [CLS] row of each layer the method needs, by layer: [B, H, P]. */
  clsAttention: Map<number, tf.Tensor3D>;
  /** The full attention of each layer the method needs: [B, H, N, N]. */
  attention: Map<number, tf.Tensor4D>;
  /** The keys of each layer the method needs, [CLS] first: [B, H, N, C]. */
  keys: Map<number, tf.Tensor4D>;
  /** What enters each layer that the method needs, [CLS] first: [B, N, D]. */
  hidden: Map<number, tf.Tensor3D>;
  /** Tokens of the method's own, through the tower beside its own; see vision/beside.ts. [U, D] → [B, U, D] */
  beside?(this: void, tokens: tf.Tensor2D, layers: number): tf.Tensor3D;
  /** What the decoder would see of features: the projector, token by token. [B, U, D] → [B, U, E] */
  project(this: void, features: tf.Tensor3D): tf.Tensor3D;
  /** Of a picture that is seen as several, each by itself; a method is shown one of them. */
  views?: Seen[];
  /** How alike each patch is to its picture's question, in CLIP's space: [B, P]. Absent where no CLIP was loaded. */
  compare?(this: void, questions: readonly number[][]): tf.Tensor2D;
}

/** Which of the tower's inner tensors a method reads, by layer; what {@link Seen} calls by the same names. */
export type TowerNeeds = Pick<VisionNeeds, 'clsAttention' | 'attention' | 'keys' | 'hidden'>;

/** What a method chose before the decoder. */
export interface Choice {
  /** F' = W·F. */
  W: TokenMatrix;
  /** F' itself, [B, U, D], of a merger that is more than a mean; W then says of which patches each token is. */
  tokens?: tf.Tensor3D;
  /** Whether [CLS] itself is one more of the U tokens, the first. */
  cls?: boolean;
  /** What the patches were ranked by, P values of each picture, where they were. */
  scores?: readonly Float32Array[];
}

/** What a method says of the steps that are its own, by their names in the trace. */
export type Words = Partial<Record<TraceName, string>>;

/** The parts of a model that a system may have been trained with. */
export interface TrainedParts {
  projector: Projector;
  decoder: Llama;
}

/** What a method does at each stage, for one model and budget. */
export interface Stages {
  /** The same in words, with this model's numbers: for the printed walk. */
  words?: Words;
  /** What it reads of the tower. */
  needs?: TowerNeeds;
  /** In the tower: a W after a layer's attention, or all of it on a coarser picture. */
  inTower?: InTower;
  /** Before the decoder: W over F. */
  choose?(this: void, seen: Seen): Choice | Promise<Choice>;
  /** How many tokens `choose` leaves, where that is not the budget: so many, or what the picture makes of it. */
  leaves?: number | 'varies';
  /** Whether [CLS] itself is one of the tokens that `choose` leaves; see {@link Choice.cls}. */
  takesCls?: boolean;
  /** Between the decoder's layers: a W over the picture's tokens, or limits. Made anew for each prompt. */
  between?(this: void): LayerHook;
  /** What was trained with it, in place of the model's own. */
  brings?: Partial<TrainedParts>;
  /** On the output: a token that the decoder says and reads for numbers. */
  output?: NumberToken;
}

/** How a method shares its budget out over the views of a picture. */
export interface Sharing {
  /** Whose [CLS] rows it reads of the thumbnail. */
  layers: number[];
  /** The budget of each view, Σ = budget, none above its patches. */
  of(this: void, thumbnail: Seen, budget: number): Promise<number[]>;
}

/** A method's options are named values; the CLI and the evaluation list them without knowing them. */
export type MethodOptions = Record<string, number | string>;

/** A method of compression: a page of its own, and one line in the registry. */
export interface Method<Options extends MethodOptions = MethodOptions> {
  name: string;
  /** A short hash of the file that it comes from, where it is no built-in one: what it did is kept under both. */
  digest?: string;
  /** Title and arXiv id. */
  paper: string;
  summary: string;
  /** Where it may act. */
  stages: readonly Stage[];
  /** What else it needs: `questions` where its choice depends on the question, which CLIP's text tower reads. */
  resources?: readonly (keyof Resources)[];
  /** Words that it adds to the model's: their ids follow the vocabulary. Its decoder has rows for them. */
  adds?: readonly string[];
  /** Whether its tokens before the decoder are new ones, which have no place in the uncut prompt. */
  makesTokens?: boolean;
  /** Whether it takes one prompt at a time: what it drops differs in number from one to the next. */
  single?: boolean;
  /** Whether every token that it makes, wherever, is a mean of others: weights from 0 that sum to 1. */
  means?: boolean;
  defaults: Options;
  /** For each option, what it means; and the values it may have where they are names. */
  help: { [Name in keyof Options]: { text: string; choices?: readonly string[] } };
  /**
   * All that can be refused is refused here.
   * @param budget U, how many tokens to keep, 1 ≤ U ≤ P
   * @throws UserError for a budget, options or resources that cannot serve with this model
   */
  prepare(source: Source, budget: number, options: Options, resources: Resources): Stages;
  /** How it shares its budget out over the views of a picture; equally where left out. See views.ts. */
  share?(source: Source, views: Views, options: Options): Sharing;
}
