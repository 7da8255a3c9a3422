import type * as tf from '@tensorflow/tfjs-core';
import { dense, embedding, matrix, vector, type Tree } from '../io/weight-table.ts';
import type { Linear, Table } from '../tensor/linear.ts';
import type { DecoderConfig } from './config.ts';

/** One transformer block of LLaMA's architecture, under Hugging Face's names. */
export interface LlamaBlockWeights {
  input_layernorm: tf.Tensor1D; // [E]
  self_attn: { q_proj: Linear; k_proj: Linear; v_proj: Linear; o_proj: Linear };
  post_attention_layernorm: tf.Tensor1D; // [E]
  mlp: { gate_proj: Linear; up_proj: Linear; down_proj: Linear };
}

/** The decoder's weights, under Hugging Face's names. */
export interface LlamaWeights {
  embed_tokens: Table; // [V, E]
  layers: LlamaBlockWeights[];
  norm: tf.Tensor1D; // [E]
  lm_head: Linear; // [E, V]
}

/**
 * Where each weight stands in a checkpoint.
 * @param prefix what stands before LLaMA's names: `model.` alone, `language_model.model.` inside LLaVA
 * @param head the output matrix's name
 */
export function llamaTable(config: DecoderConfig, prefix: string, head: string): Tree<LlamaWeights> {
  const { vocab_size: V, hidden_size: E, intermediate_size: M, head_dim: C } = config;
  const queryWidth = config.num_attention_heads * C;
  const keyWidth = config.num_key_value_heads * C;
  const { bias } = config;
  return {
    embed_tokens: embedding(`${prefix}embed_tokens.weight`, V, E),
    layers: Array.from({ length: config.num_hidden_layers }, (_, l) => {
      const layer = `${prefix}layers.${l}`;
      return {
        input_layernorm: vector(`${layer}.input_layernorm.weight`, E),
        self_attn: {
          q_proj: dense(`${layer}.self_attn.q_proj`, E, queryWidth, bias.qkv),
          k_proj: dense(`${layer}.self_attn.k_proj`, E, keyWidth, bias.qkv),
          v_proj: dense(`${layer}.self_attn.v_proj`, E, keyWidth, bias.qkv),
          o_proj: dense(`${layer}.self_attn.o_proj`, queryWidth, E, bias.o),
        },
        post_attention_layernorm: vector(`${layer}.post_attention_layernorm.weight`, E),
        mlp: {
          gate_proj: dense(`${layer}.mlp.gate_proj`, E, M, bias.mlp),
          up_proj: dense(`${layer}.mlp.up_proj`, E, M, bias.mlp),
          down_proj: dense(`${layer}.mlp.down_proj`, M, E, bias.mlp),
        },
      };
    }),
    norm: vector(`${prefix}norm.weight`, E),
    lm_head: { weight: matrix(`${head}.weight`, E, V, false) }, // one row at a time: a block would only cost
  };
}

/** Names that some LLaMA files carry and nothing reads: RoPE's frequencies, which the config determines. */
export const unusedLlamaNames = /rotary_emb\.inv_freq$/;
