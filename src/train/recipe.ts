/** Every number that training depends on. */
import { frameSides } from '../world/frame.ts';
import type { Naming } from '../world/caption.ts';
import type { CompressionStage } from './llavolta.ts';
import type { AdamwOptions } from './optimizer.ts';
import type { Pace } from './train.ts';

/** Under Hugging Face's names. */
interface Transformer {
  hidden_size: number;
  intermediate_size: number;
  num_hidden_layers: number;
  num_attention_heads: number;
}

/** Both stages'. */
const adamw: AdamwOptions = { beta1: 0.9, beta2: 0.98, epsilon: 1e-6, weightDecay: 0.05, clip: 1 };

export interface ClipRecipe {
  pace: Pace;
  seed: number;
  vision: Transformer;
  text: Transformer;
  projection_dim: number;
  /** Families in a batch, of {@link ClipRecipe.familySize} scenes each. */
  families: number;
  familySize: number;
  /** What captions name. */
  captions: Naming;
  /** Captions wrong by one word, for each picture. */
  wrongCaptions: number;
  /** Weight of the texts' auxiliary loss, and the share of all steps after which it begins to fade. */
  auxiliary: { weight: number; fadeFrom: number };
  /** Scenes that validation looks at. */
  validation: number;
}

export const clipRecipe: ClipRecipe = {
  pace: {
    steps: 1800,
    peak: 1.5e-3,
    warmUp: 50,
    adamw,
    validateEvery: 100,
  },
  seed: 0,
  vision: { hidden_size: 96, intermediate_size: 384, num_hidden_layers: 5, num_attention_heads: 4 },
  text: { hidden_size: 96, intermediate_size: 384, num_hidden_layers: 2, num_attention_heads: 4 },
  projection_dim: 96,
  families: 8,
  familySize: 8,
  captions: 'all',
  wrongCaptions: 3,
  auxiliary: { weight: 0.35, fadeFrom: 0.6 },
  validation: 128,
};

export interface LlavaRecipe {
  pace: Pace;
  seed: number;
  decoder: Transformer & { num_key_value_heads: number; max_position_embeddings: number };
  /** Pictures in a batch, and questions about each. */
  pictures: number;
  questions: number;
  /** What a batch's pictures may be wide and high, pixels; the decoder is not shown the padding's tokens. */
  frames: readonly number[];
  /** LLaVolta's schedule; see llavolta.ts. */
  compressor?: readonly CompressionStage[];
  /** Pictures by which the vision tower's features are standardised. */
  standardise: number;
  /** Pictures that validation looks at, with all questions that each allows. */
  validation: number;
}

export const llavaRecipe: LlavaRecipe = {
  pace: {
    steps: 1800,
    peak: 1.5e-3,
    warmUp: 50,
    adamw,
    validateEvery: 100,
  },
  seed: 0,
  decoder: {
    hidden_size: 128,
    intermediate_size: 344,
    num_hidden_layers: 4,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    max_position_embeddings: 256,
  },
  pictures: 32,
  questions: 8,
  frames: frameSides,
  standardise: 512,
  validation: 128,
};

export interface VideoRecipe {
  pace: Pace;
  seed: number;
  /** Positions that the decoder may take: those of a trained LLaVA are too few for eight frames. */
  max_position_embeddings: number;
  /** Frames in a batch, of clips of one length, and questions about each clip. */
  framesABatch: number;
  questions: number;
  /** Steps at the beginning whose clips have 2 or 3 frames: what happens between two is learned from two. */
  shortSteps: number;
  /** The side of the cells of patches whose mean is a token. */
  pool: number;
  /** U of a frame's P patches: the share of its tokens that goes through the layers that have a scorer; P: there is none. */
  budget: number;
  /** λ, the weight of what frames tell; see video-stage.ts. */
  telling: number;
  /** Pictures by which the vision tower's features are standardised. */
  standardise: number;
  /** Batches of each length that validation looks at. */
  validation: number;
}

export const videoRecipe: VideoRecipe = {
  pace: { steps: 1500, peak: 1.5e-3, warmUp: 30, adamw, validateEvery: 100 },
  seed: 0,
  max_position_embeddings: 512,
  framesABatch: 72,
  questions: 6,
  shortSteps: 300,
  pool: 2,
  budget: 100,
  telling: 0.5,
  standardise: 512,
  validation: 2,
};

/** From a model of {@link videoRecipe}, which knows clips already. */
export const videoLlmModRecipe: VideoRecipe = {
  ...videoRecipe,
  pace: { steps: 800, peak: 1e-3, warmUp: 20, adamw, validateEvery: 100 },
  shortSteps: 0,
  budget: 25,
};

/** Models too small to learn anything, trained for a moment: a test that every part runs. */
export const smokeRecipes: { clip: ClipRecipe; llava: LlavaRecipe } = {
  clip: {
    ...clipRecipe,
    pace: { ...clipRecipe.pace, steps: 6, warmUp: 2, validateEvery: 3 },
    vision: { hidden_size: 16, intermediate_size: 32, num_hidden_layers: 4, num_attention_heads: 2 },
    text: { hidden_size: 16, intermediate_size: 32, num_hidden_layers: 1, num_attention_heads: 2 },
    projection_dim: 16,
    families: 2,
    familySize: 4,
    validation: 16,
  },
  llava: {
    ...llavaRecipe,
    pace: { ...llavaRecipe.pace, steps: 6, warmUp: 2, validateEvery: 3 },
    decoder: {
      hidden_size: 16,
      intermediate_size: 32,
      num_hidden_layers: 2,
      num_attention_heads: 2,
      num_key_value_heads: 1,
      max_position_embeddings: 256,
    },
    pictures: 4,
    questions: 3,
    standardise: 16,
    validation: 8,
  },
};
