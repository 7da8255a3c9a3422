import { UserError } from '../errors.ts';
import { fieldReader, type JsonObject } from '../json.ts';

/** What sets one decoder of LLaMA's architecture apart from another. */
export interface Family {
  title: string;
  /** What transformers 5.18 fills in for what a config.json leaves out. */
  defaults: {
    vocab_size: number;
    hidden_size: number;
    intermediate_size: number;
    num_hidden_layers: number;
    num_attention_heads: number;
    num_key_value_heads: number | null; // as many as query heads
    max_position_embeddings: number;
    rms_norm_eps: number;
    rope_theta: number;
    bos_token_id: number[];
    eos_token_id: number[];
  };
  /** Which projections have a bias: always, never, or where the config's field of this name says so. */
  bias: Record<keyof ProjectionBias, boolean | 'attention_bias' | 'mlp_bias'>;
  /** How many tokens back a token sees in the layers that see least; null: all. */
  slidingWindow: (json: JsonObject, file: string, layers: number) => number | null;
}

/** Which projections of a block have a bias: query, key and value; the attention's output; the MLP's three. */
export interface ProjectionBias {
  qkv: boolean;
  o: boolean;
  mlp: boolean;
}

const shared = {
  hidden_size: 4096,
  num_hidden_layers: 32,
  num_attention_heads: 32,
  rms_norm_eps: 1e-6,
  rope_theta: 10000,
};

/** The decoders that are read, by `model_type`. */
export const families = {
  llama: {
    title: 'LLaMA',
    defaults: {
      ...shared,
      vocab_size: 32000,
      intermediate_size: 11008,
      num_key_value_heads: null,
      max_position_embeddings: 2048,
      bos_token_id: [1],
      eos_token_id: [2],
    },
    bias: { qkv: 'attention_bias', o: 'attention_bias', mlp: 'mlp_bias' },
    slidingWindow: () => null,
  },
  mistral: {
    title: 'Mistral',
    defaults: {
      ...shared,
      vocab_size: 32000,
      intermediate_size: 14336,
      num_key_value_heads: 8,
      max_position_embeddings: 131072,
      bos_token_id: [1],
      eos_token_id: [2],
    },
    bias: { qkv: false, o: false, mlp: false },
    slidingWindow: windowOf,
  },
  qwen2: {
    title: 'Qwen2',
    defaults: {
      ...shared,
      vocab_size: 151936,
      intermediate_size: 22016,
      num_key_value_heads: 32,
      max_position_embeddings: 32768,
      bos_token_id: [],
      eos_token_id: [],
    },
    bias: { qkv: true, o: false, mlp: false },
    slidingWindow: windowOfSomeLayers,
  },
} satisfies Record<string, Family>;

export type FamilyName = keyof typeof families;

export const familyNames = Object.keys(families) as FamilyName[];

export function isFamilyName(name: unknown): name is FamilyName {
  return typeof name === 'string' && Object.hasOwn(families, name);
}

/** Every layer's window: `sliding_window`, of which null says that there is none, and absence 4096. */
function windowOf(json: JsonObject, file: string): number | null {
  return json['sliding_window'] === null
    ? null
    : fieldReader(json, file).count('sliding_window', 4096, 2 ** 30);
}

/**
 * `sliding_window` counts only with `use_sliding_window`, and for the layers that `layer_types` names or else those from
 * `max_window_layers` on.
 */
function windowOfSomeLayers(json: JsonObject, file: string, layers: number): number | null {
  const { flag, integer } = fieldReader(json, file);
  const window = flag('use_sliding_window', false) ? windowOf(json, file) : null;
  const types = json['layer_types'] ?? undefined;
  if (types === undefined) return integer('max_window_layers', 28) < layers ? window : null;
  if (!Array.isArray(types) || types.length !== layers) {
    throw new UserError(`${file}: layer_types should be a list of ${layers}, one for each layer`);
  }
  const odd = (types as unknown[]).find((type) => type !== 'full_attention' && type !== 'sliding_attention');
  if (odd !== undefined) {
    throw new UserError(
      `${file}: layer_types ${JSON.stringify(odd)} is not supported, only full_attention or sliding_attention`,
    );
  }
  if (!types.includes('sliding_attention')) return null;
  if (window === null)
    throw new UserError(`${file}: layer_types has sliding_attention, but no window is set`);
  return window;
}
