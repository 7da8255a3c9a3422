/** The decoder of a LLaVA at 1.1 B parameters' shape: reading a prompt of U visual tokens and text, and writing on. */
import * as tf from '@tensorflow/tfjs-core';
import { cacheBytes, prefillMacs } from '../../src/cost.ts';
import type { DecoderConfig } from '../../src/decoder/config.ts';
import { decode, prefill } from '../../src/decoder/generate.ts';
import type { Llama } from '../../src/decoder/llama.ts';
import type { DecoderInput, LayerHook, Role } from '../../src/decoder/state.ts';
import { llamaTable, type LlamaWeights } from '../../src/decoder/weights.ts';
import type { Tree } from '../../src/io/weight-table.ts';
import type { BenchCase, RunResult } from '../harness.ts';
import { budgets, llamaLayers, llamaShape, textTokens } from '../shapes.ts';
import { digestOf, inputRecipe, inputTensor, randomWeights, recipesOf, type Recipe } from '../weights.ts';
import { peerCases, type Context, type Description, type PeerRequest } from './context.ts';

/** Tokens a run of the decode benchmark writes, after a prompt of 576 + 64. */
const writtenTokens = 8;
const fewLayers = 2;

/** FLOPs of a prompt of T tokens: all layers, and the output matrix for the last token. */
export function prefillFlops(config: DecoderConfig, T: number): number {
  const layers = prefillMacs(config, new Array<number>(config.num_hidden_layers).fill(T));
  return 2 * (layers + config.hidden_size * config.vocab_size);
}

/** Bytes of the keys and values of T tokens, in every layer. */
export function cacheBytesOf(config: DecoderConfig, T: number): number {
  return cacheBytes(config, new Array<number>(config.num_hidden_layers).fill(T));
}

export const prefillName = (U: number): string => `prefill ${U} + ${textTokens} tokens`;

/** In three minutes two layers, on TensorFlow alone; in full two and all, on every backend that they fit. */
export function decoderCases(context: Context): BenchCase[] {
  if (context.full) return [fewLayers, llamaLayers].flatMap((layers) => casesOf(context, layers));
  const backends = context.backends.filter((backend) => backend === 'tensorflow');
  return casesOf({ ...context, backends }, fewLayers);
}

function casesOf(context: Context, layers: number): BenchCase[] {
  const config = llamaShape(layers);
  const tree = llamaTable(config, 'model.', 'lm_head');
  const group = `decoder (LLaMA 1.1 B shape, ${layers} of ${llamaLayers} layers)`;
  const models = sharedModels(config, tree, group);
  const model: PeerRequest = { kind: 'llama', config: peerConfig(config), weights: recipesOf(tree) };
  const ways = context.full ? 'every' : 'plain';

  /** One prompt's cases on every backend: the model borrowed, the prompt filled from the pool. */
  const promptCases = (
    description: Description,
    input: Recipe,
    open: (llama: Llama, prompt: DecoderInput) => Promise<Opened>,
  ): BenchCase[] =>
    context.backends.map((backend) => {
      let prompt: DecoderInput | undefined;
      let opened: Opened | undefined;
      return {
        ...description,
        runner: backend,
        backend,
        prepare: async () => {
          const llama = await models.borrow(backend);
          prompt = promptOf(inputTensor(input));
          opened = await open(llama, prompt);
        },
        run: () => opened!.run(),
        dispose: () => {
          opened?.close?.();
          tf.dispose([prompt?.hidden, prompt?.positions] as tf.TensorContainer);
          models.giveBack(backend);
        },
      };
    });

  const prefills = budgets.flatMap((U) => {
    const T = U + textTokens;
    const description = {
      name: prefillName(U),
      group,
      work: { flops: prefillFlops(config, T) },
      cacheBytes: cacheBytesOf(config, T),
    };
    const input = inputRecipe('embeddings', [1, T, config.hidden_size]);
    const read = (hook?: LayerHook) => (llama: Llama, prompt: DecoderInput) =>
      Promise.resolve({
        run: async () => {
          const session = await prefill(llama, prompt, { maxNewTokens: 1, hook });
          const digest = await digestOf(session.logits.clone());
          session.dispose();
          return { digest };
        },
      });
    const exposed = {
      ...description,
      name: `${description.name} + attention of 1 layer`,
      over: description.name,
    };
    const requests = {
      [group]: model,
      [description.name]: { kind: 'prefill' as const, model: group, input },
    };
    const measured = context.full || U === 576 || U === 64;
    return [
      ...promptCases(description, input, read()),
      ...(U === 576 ? promptCases(exposed, input, read(firstAttention)) : []),
      ...(measured ? peerCases(context, description, requests, { ways }) : []),
    ];
  });

  const T = budgets[0] + textTokens;
  const input = inputRecipe('embeddings', [1, T, config.hidden_size]);
  const description = {
    name: `decode ${writtenTokens} tokens after ${T}`,
    group,
    tokens: writtenTokens,
    // Every weight is read once a token, and the cache once.
    work: { bytes: writtenTokens * (readBytes(config) + cacheBytesOf(config, T)) },
    cacheBytes: cacheBytesOf(config, T + writtenTokens),
  };
  const write = async (llama: Llama, prompt: DecoderInput): Promise<Opened> => {
    const session = await prefill(llama, prompt, { maxNewTokens: config.max_position_embeddings - T });
    return {
      run: async () => {
        // The first of the tokens is read off the prompt's logits: one more token is one more step.
        const [tokens] = await decode(llama, session, { maxNewTokens: writtenTokens + 1 });
        return { digest: tokens };
      },
      close: () => session.dispose(),
    };
  };
  const requests = {
    [group]: model,
    [description.name]: { kind: 'decode' as const, model: group, input, tokens: writtenTokens },
  };
  return [
    ...prefills,
    ...promptCases(description, input, write),
    ...peerCases(context, description, requests, { ways, count: writtenTokens + 1 }),
  ];
}

/** What a case holds beside the model and the prompt. */
interface Opened {
  run(): Promise<RunResult>;
  close?: () => void;
}

/** Looks at the attention of layer 0, as a method that prunes behind it does, and prunes nothing. */
const firstAttention: LayerHook = {
  needsAttention: (layer) => layer === 1,
};

/** One model a backend, loaded by the first case that borrows it and gone with the last. */
export function sharedModels(
  config: DecoderConfig,
  tree: Tree<LlamaWeights>,
  what: string,
  options?: Parameters<typeof randomWeights>[2],
) {
  const held = new Map<string, { llama: Llama; users: number }>();
  return {
    borrow: async (backend: string): Promise<Llama> => {
      const entry = held.get(backend) ?? {
        llama: { config, weights: (await randomWeights(tree, what, options)) as LlamaWeights },
        users: 0,
      };
      entry.users++;
      held.set(backend, entry);
      return entry.llama;
    },
    giveBack: (backend: string): void => {
      const entry = held.get(backend);
      if (entry && --entry.users === 0) {
        tf.dispose(entry.llama.weights as unknown as tf.TensorContainer);
        held.delete(backend);
      }
    },
  };
}

/** Bytes of the weights that one token's step reads: all but the embedding table. */
export function readBytes(config: DecoderConfig, bytesPerWeight = 4): number {
  const { hidden_size: E, intermediate_size: M, head_dim: C, vocab_size: V } = config;
  const perLayer =
    2 * E * config.num_attention_heads * C + 2 * E * config.num_key_value_heads * C + 3 * E * M;
  return bytesPerWeight * (config.num_hidden_layers * perLayer + E * V);
}

export function promptOf(hidden: tf.Tensor3D): DecoderInput {
  const [B, T] = hidden.shape;
  const roles = Array.from({ length: T }, (_, t): Role => (t < T - textTokens ? 'image' : 'text'));
  const each = <X>(row: X) => Array.from({ length: B }, () => row);
  const positions = tf.tensor2d(each(Array.from(roles.keys())), [B, T], 'int32');
  return { hidden, positions, roles: each(roles), nextPosition: T };
}

/** The same config as transformers wants it. */
export function peerConfig(config: DecoderConfig): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(config).filter(
      ([key]) => !['rope_theta', 'rope_scaling', 'bos_token_id', 'eos_token_id'].includes(key),
    ),
  );
}
