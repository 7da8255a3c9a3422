/**
 * One decoder layer of a large model, whose weights a file holds in bfloat16: kept so or widened at load, beside Hugging Face in
 * float32 and in bfloat16 arithmetic, which gives other numbers. On a GPU widened alone, and sixteen prompts at once too.
 */
import * as tf from '@tensorflow/tfjs-core';
import { parseDecoderConfig } from '../../src/decoder/config.ts';
import { decode, prefill, type Session } from '../../src/decoder/generate.ts';
import type { DecoderInput } from '../../src/decoder/state.ts';
import { llamaTable } from '../../src/decoder/weights.ts';
import type { BenchCase } from '../harness.ts';
import { largeShapes } from '../large/shapes.ts';
import { textTokens } from '../shapes.ts';
import { digestOf, inputRecipe, inputTensor, recipesOf } from '../weights.ts';
import { digestLength, type Context, type Description, type PeerRequest } from './context.ts';
import {
  cacheBytesOf,
  peerConfig,
  prefillFlops,
  prefillName,
  promptOf,
  readBytes,
  sharedModels,
} from './decoder.ts';

const writtenTokens = 8;
/** A small vocabulary, so that the layer is what is measured. */
const vocab_size = 64;

export const layerGroup = (shape: string): string => `large layer: ${shape}`;
export const storedRunner = 'tensorflow stored';

export function layerCases(context: Context): BenchCase[] {
  if (!context.layers) return [];
  return Object.entries(largeShapes).flatMap(([name, { text_config }]) => {
    const config = parseDecoderConfig({ ...text_config, vocab_size, num_hidden_layers: 1 }, 'bench');
    const group = layerGroup(name);
    const tree = llamaTable(config, 'model.', 'lm_head');
    const inputOf = (T: number, B = 1) => inputRecipe('embeddings', [B, T, config.hidden_size]);
    const prefills = [576, 64].flatMap((U) =>
      (context.gpu ? [1, 16] : [1]).map((B) => ({
        B,
        U,
        description: {
          name: `${prefillName(U)}${B > 1 ? `, batch ${B}` : ''}`,
          group,
          work: { flops: B * prefillFlops(config, U + textTokens) },
        },
      })),
    );
    const T = 576 + textTokens;
    const writing = {
      name: `decode ${writtenTokens} tokens after ${T}`,
      group,
      tokens: writtenTokens,
      work: { bytes: writtenTokens * (readBytes(config, 2) + cacheBytesOf(config, T)) },
    };

    const keepings = context.gpu ? (['float32'] as const) : (['stored', 'float32'] as const);
    const kept = context.backends
      .filter((backend) => context.gpu || backend === 'tensorflow')
      .flatMap((backend) => keepings.map((keeping) => ({ backend, keeping })));
    const ours = kept.flatMap(({ backend, keeping }) => {
      const models = sharedModels(config, tree, group, { from: 'BF16', stored: keeping === 'stored' });
      const casesOf = (
        description: Description,
        [B, length]: [B: number, length: number],
        run: (session: {
          prompt: DecoderInput;
          llama: Awaited<ReturnType<typeof models.borrow>>;
        }) => BenchCase['run'],
        close?: () => void,
      ): BenchCase => {
        let held: { prompt: DecoderInput; run: BenchCase['run'] } | undefined;
        return {
          ...description,
          runner: `${backend} ${keeping}`,
          backend,
          prepare: async () => {
            const llama = await models.borrow(backend);
            const prompt = promptOf(inputTensor(inputOf(length, B)));
            held = { prompt, run: run({ prompt, llama }) };
          },
          run: () => held!.run(),
          dispose: () => {
            close?.();
            tf.dispose([held?.prompt.hidden, held?.prompt.positions] as tf.TensorContainer);
            models.giveBack(backend);
          },
        };
      };
      let session: Session | undefined;
      return [
        ...prefills.map(({ B, U, description }) =>
          casesOf(description, [B, U + textTokens], ({ llama, prompt }) => async () => {
            const read = await prefill(llama, prompt, { maxNewTokens: 1 });
            const digest = await digestOf(read.logits.clone());
            read.dispose();
            return { digest };
          }),
        ),
        casesOf(
          writing,
          [1, T],
          ({ llama, prompt }) =>
            async () => {
              session ??= await prefill(llama, prompt, { maxNewTokens: config.max_position_embeddings - T });
              const started = performance.now();
              const [tokens] = await decode(llama, session, { maxNewTokens: writtenTokens + 1 });
              return { digest: tokens, milliseconds: performance.now() - started };
            },
          () => session?.dispose(),
        ),
      ];
    });

    const torch = context.peers.find(({ kind }) => kind.name === 'torch');
    const theirs = (['float32', 'bfloat16'] as const).flatMap((dtype) => {
      if (!torch) return [];
      const model: PeerRequest = {
        kind: 'llama',
        config: peerConfig(config),
        weights: recipesOf(tree),
        dtype,
      };
      const modelKey = `${group} ${dtype}`;
      const caseOf = (description: Description, request: PeerRequest, count: number): BenchCase => {
        const key = `${modelKey} ${description.name}`;
        return {
          ...description,
          runner: `torch ${dtype}`,
          unchecked: dtype === 'bfloat16',
          prepare: async () => {
            await torch.prepare(modelKey, model);
            await torch.prepare(key, { ...request, model: modelKey, variant: 'sdpa' });
          },
          run: () => torch.run(key, 'sdpa', count),
          dispose: async () => {
            await torch.dispose(key);
            await torch.dispose(modelKey);
          },
        };
      };
      return [
        ...prefills.map(({ B, U, description }) =>
          caseOf(description, { kind: 'prefill', input: inputOf(U + textTokens, B) }, digestLength),
        ),
        caseOf(writing, { kind: 'decode', input: inputOf(T), tokens: writtenTokens }, writtenTokens + 1),
      ];
    });
    return [...ours, ...theirs];
  });
}
