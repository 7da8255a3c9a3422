import * as tf from '@tensorflow/tfjs-core';
import { causalMask } from '../tensor/attention.ts';
import { shape } from '../tensor/axes.ts';
import { linear } from '../tensor/linear.ts';
import { rmsNorm } from '../tensor/norm.ts';
import { scope } from '../tensor/scope.ts';
import type { Trace } from '../tensor/trace.ts';
import { attendFromLastToken, llamaBlock } from './block.ts';
import { updateCache, updateState, type KvCache } from './cache.ts';
import type { DecoderConfig } from './config.ts';
import { cutImage } from './cut.ts';
import { putBack, takeThrough } from './pass.ts';
import { ropeAt, type Rope } from './rope.ts';
import type { LayerStream } from './layer-stream.ts';
import type { DecoderState, LayerHook } from './state.ts';
import type { LlamaWeights } from './weights.ts';

/** A decoder of LLaMA's architecture. */
export interface Llama {
  config: DecoderConfig;
  weights: LlamaWeights;
  /** Its layers, where the weights hold none. */
  stream?: LayerStream;
}

/** What a pass through the decoder needs besides weights and input. */
export interface LlamaRun {
  rope: Rope;
  /** Extended by every layer; created empty by the caller, who disposes it. */
  cache: KvCache;
  hook?: LayerHook;
  trace?: Trace;
  /** Logits of every position, or (the default) of the last one only. */
  allLogits?: boolean;
}

/**
 * Runs the decoder over T new tokens after those in the cache.
 * @param input not disposed here
 * @returns logits [B, T, V], or [B, 1, V] of the last token
 */
export async function runLlama(
  { config, weights, stream }: Llama,
  input: DecoderState,
  { rope, cache, hook, trace, allLogits = false }: LlamaRun,
): Promise<tf.Tensor3D> {
  const traceAttention = trace?.wants('decoder.attention.LL') ?? false;
  let state: DecoderState = { ...input, hidden: input.hidden.clone(), positions: input.positions.clone() };
  let mask: tf.Tensor2D | undefined;
  try {
    trace?.record('decoder.embeddings', state.hidden);
    trace?.record('decoder.hidden.LL', state.hidden, 0);
    for (let l = 0; l < config.num_hidden_layers; l++) {
      using own = scope();
      const layer = stream ? own(await stream.take(l)) : weights.layers[l];
      const past = cache.layers[l];
      if (!past && hook?.cut) {
        const { hidden, positions } = state;
        const attendFromLast = () =>
          tf.tidy(() => attendFromLastToken(layer, hidden, config, ropeAt(rope, positions)));
        const W = await hook.cut(l, { ...state, attendFromLast });
        if (W) {
          trace?.record('decoder.matrix.LL', W, l);
          state = replace(state, await cutImage(state, W, hook.positions));
          trace?.record('decoder.cut.LL', state.hidden, l);
        }
      }
      const pass = own(past ? undefined : await hook?.through?.(l, state)); // undefined: all tokens go through
      const all = shape({ hidden: state.hidden }, 'B T E', { E: config.hidden_size });
      const T = pass ? pass.places[0].length : all.T;
      const Tk = T + (past?.keys.shape[2] ?? 0);
      if (mask?.shape.join() !== [T, Tk].join()) {
        mask?.dispose();
        mask = causalMask(T, Tk); // the same for every layer, unless a cut changes T
      }
      const block = tf.tidy(() => {
        const entering = takeThrough(state, pass);
        const sizes = { heads: config.num_attention_heads, neurons: config.intermediate_size };
        const limits = hook?.limit?.(l, entering, Tk - T, sizes) ?? {};
        const made = llamaBlock(layer, entering.hidden, config, {
          rope: ropeAt(rope, entering.positions),
          ...limits,
          mask: limits.mask ?? mask,
          past,
          keepAttention: traceAttention || (!past && hook?.needsAttention?.(l + 1)),
        });
        return { ...made, hidden: putBack(state.hidden, made.hidden, pass) };
      });
      updateCache(cache, l, { keys: block.keys, values: block.values });
      state = replace(state, { ...state, hidden: block.hidden, attention: block.attention });
      const { hidden } = state;
      const last = l + 1 === config.num_hidden_layers; // transformers' last hidden state is normed
      const made = last
        ? { shape: hidden.shape, tensor: () => rmsNorm(weights.norm, hidden, config.rms_norm_eps) }
        : hidden;
      trace?.record('decoder.hidden.LL', made, l + 1);
      if (block.attention) trace?.record('decoder.attention.LL', block.attention, l);
    }
    return tf.tidy(() => {
      const [B, T, E] = state.hidden.shape;
      const read = allLogits ? state.hidden : tf.slice(state.hidden, [0, T - 1, 0], [B, 1, E]);
      const states = normStates({ config, weights }, read);
      updateState(cache, states);
      const logits = linear(weights.lm_head, states);
      trace?.record('decoder.logits', logits);
      return logits;
    });
  } finally {
    tf.dispose(tensorsOf(state));
    mask?.dispose();
  }
}

/**
 * The final norm and the output matrix.
 * @param hidden [B, T, E], the last layer's output at the positions to be read
 * @returns logits [B, T, V]
 */
export function readLogits(llama: Llama, hidden: tf.Tensor3D): tf.Tensor3D {
  return tf.tidy(() => linear(llama.weights.lm_head, normStates(llama, hidden)));
}

/** The final norm: transformers' `last_hidden_state`. [B, T, E] */
export const normStates = ({ config, weights }: Llama, hidden: tf.Tensor3D): tf.Tensor3D =>
  rmsNorm(weights.norm, hidden, config.rms_norm_eps);

/** Disposes what the next state no longer holds. */
function replace(state: DecoderState, next: DecoderState): DecoderState {
  const kept = new Set(tensorsOf(next));
  for (const tensor of tensorsOf(state)) if (!kept.has(tensor)) tensor.dispose();
  return next;
}

function tensorsOf({ hidden, positions, attention }: DecoderState): tf.Tensor[] {
  return attention ? [hidden, positions, attention] : [hidden, positions];
}
