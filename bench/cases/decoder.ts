/** The decoder of a LLaVA at 1.1 B parameters' shape: reading a prompt of U visual tokens and text, and writing on. */
import * as tf from '@tensorflow/tfjs-core';
import { cacheBytes, prefillMacs } from '../../src/cost.ts';
import type { LlamaConfig } from '../../src/decoder/config.ts';
import { decode, prefill, type Session } from '../../src/decoder/generate.ts';
import type { Llama } from '../../src/decoder/llama.ts';
import type { DecoderInput, Role } from '../../src/decoder/state.ts';
import { llamaTable, type LlamaWeights } from '../../src/decoder/weights.ts';
import type { BenchCase } from '../harness.ts';
import { budgets, llamaLayers, llamaShape, textTokens } from '../shapes.ts';
import { digestOf, inputRecipe, inputTensor, randomWeights, recipesOf } from '../weights.ts';
import { peerCases, type Context, type PeerRequest } from './context.ts';

/** Tokens a run of the decode benchmark writes, after a prompt of 576 + 64. */
const writtenTokens = 8;
const fewLayers = 2;

/** FLOPs of a prompt of T tokens: all layers, and the output matrix for the last token. */
export function prefillFlops(config: LlamaConfig, T: number): number {
  const layers = prefillMacs(config, new Array<number>(config.num_hidden_layers).fill(T));
  return 2 * (layers + config.hidden_size * config.vocab_size);
}

export const prefillName = (U: number): string => `prefill ${U} + ${textTokens} tokens`;

export function decoderCases(context: Context): BenchCase[] {
  const layers = context.full ? llamaLayers : fewLayers;
  const config = llamaShape(layers);
  // 22 layers do not fit in wasm's heap, and 2 layers take it longer than the default run has.
  const backends = context.backends.filter((backend) => context.full || backend === 'tensorflow');
  const tree = llamaTable(config, 'model.', 'lm_head');
  const group = `decoder (LLaMA 1.1 B shape, ${layers} of ${llamaLayers} layers)`;
  const held = new Map<string, { llama: Llama; users: number }>();
  const borrow = async (backend: string): Promise<Llama> => {
    const entry = held.get(backend) ?? {
      llama: { config, weights: (await randomWeights(tree, group)) as LlamaWeights },
      users: 0,
    };
    entry.users++;
    held.set(backend, entry);
    return entry.llama;
  };
  const giveBack = (backend: string) => {
    const entry = held.get(backend);
    if (entry && --entry.users === 0) {
      tf.dispose(entry.llama.weights as unknown as tf.TensorContainer);
      held.delete(backend);
    }
  };
  const model: PeerRequest = { kind: 'llama', config: peerConfig(config), weights: recipesOf(tree) };
  const variants = context.full ? context.peer?.variants : ['eager'];

  const prefills = budgets.flatMap((U) => {
    const T = U + textTokens;
    const description = {
      name: prefillName(U),
      group,
      work: { flops: prefillFlops(config, T) },
      cacheBytes: cacheBytes(config, new Array<number>(layers).fill(T)),
    };
    const input = inputRecipe('embeddings', [1, T, config.hidden_size]);
    const ours = backends.map((backend): BenchCase => {
      let llama: Llama;
      let prompt: DecoderInput | undefined;
      return {
        ...description,
        runner: backend,
        backend,
        prepare: async () => {
          llama = await borrow(backend);
          prompt = promptOf(inputTensor(input));
        },
        run: async () => {
          const session = await prefill(llama, prompt!, { maxNewTokens: 1 });
          const digest = await digestOf(session.logits.clone());
          session.dispose();
          return { digest };
        },
        dispose: () => {
          if (prompt) tf.dispose([prompt.hidden, prompt.positions]);
          giveBack(backend);
        },
      };
    });
    const requests = {
      [group]: model,
      [description.name]: { kind: 'prefill' as const, model: group, input },
    };
    const measured = context.full || U === 576 || U === 64;
    return [...ours, ...(measured ? peerCases(context, description, requests, { variants }) : [])];
  });

  const T = budgets[0] + textTokens;
  const input = inputRecipe('embeddings', [1, T, config.hidden_size]);
  const description = {
    name: `decode ${writtenTokens} tokens after ${T}`,
    group,
    tokens: writtenTokens,
    // Every weight is read once a token, and the cache once.
    work: {
      bytes: writtenTokens * (readBytes(config) + cacheBytes(config, new Array<number>(layers).fill(T))),
    },
    cacheBytes: cacheBytes(config, new Array<number>(layers).fill(T + writtenTokens)),
  };
  const decodes = backends.map((backend): BenchCase => {
    let llama: Llama;
    let session: Session | undefined;
    return {
      ...description,
      runner: backend,
      backend,
      prepare: async () => {
        llama = await borrow(backend);
        const prompt = promptOf(inputTensor(input));
        const room = config.max_position_embeddings - T;
        session = await prefill(llama, prompt, { maxNewTokens: room });
        tf.dispose([prompt.hidden, prompt.positions]);
      },
      run: async () => {
        // The first of the tokens is read off the prompt's logits: one more token is one more step.
        const [tokens] = await decode(llama, session!, { maxNewTokens: writtenTokens + 1 });
        return { digest: tokens };
      },
      dispose: () => {
        session?.dispose();
        giveBack(backend);
      },
    };
  });
  const requests = {
    [group]: model,
    [description.name]: { kind: 'decode' as const, model: group, input, tokens: writtenTokens },
  };
  return [
    ...prefills,
    ...decodes,
    ...peerCases(context, description, requests, { variants, count: writtenTokens + 1 }),
  ];
}

/** Bytes of the weights that one token's step reads: all but the embedding table. */
function readBytes(config: LlamaConfig): number {
  const { hidden_size: E, intermediate_size: M, head_dim: C, vocab_size: V } = config;
  const perLayer =
    2 * E * config.num_attention_heads * C + 2 * E * config.num_key_value_heads * C + 3 * E * M;
  return 4 * (config.num_hidden_layers * perLayer + E * V);
}

function promptOf(hidden: tf.Tensor3D): DecoderInput {
  const T = hidden.shape[1];
  const roles = Array.from({ length: T }, (_, t): Role => (t < T - textTokens ? 'image' : 'text'));
  const positions = tf.tensor2d([Array.from(roles.keys())], [1, T], 'int32');
  return { hidden, positions, roles: [roles], nextPosition: T };
}

/** The same config as transformers wants it. */
function peerConfig(config: LlamaConfig): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(config).filter(
      ([key]) => !['rope_theta', 'rope_scaling', 'bos_token_id', 'eos_token_id'].includes(key),
    ),
  );
}
