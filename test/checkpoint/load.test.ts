/** Weights that do not fit their config are refused, with every name; those that fit load, whatever their names. */
import { open, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { readArchitecture, loadModel, readCheckedConfig, openWeights } from '../../src/node/checkpoint.ts';
import type { Model } from '../../src/checkpoint/load.ts';
import { publishedNames, unusedNames, weightTable } from '../../src/checkpoint/names.ts';
import { prefill } from '../../src/decoder/generate.ts';
import { embedText } from '../../src/decoder/splice.ts';
import { UserError } from '../../src/errors.ts';
import { writeSafetensors } from '../../src/node/safetensors.ts';
import { loadTree } from '../../src/io/load-tree.ts';
import { leavesOf, storeTree } from '../../src/io/weight-table.ts';
import { project } from '../../src/projector.ts';
import { startBackend } from '../../src/backend/start.ts';
import {
  publishedLlava7b,
  readCheckpoint,
  writeCheckpoint,
  writeConfig,
  type Checkpoint,
} from '../support/checkpoint.ts';
import { golden, readExpected, relativeError } from '../support/golden.ts';

beforeAll(async () => {
  await startBackend('wasm');
});

async function expectRefusal(dir: string, message: string): Promise<void> {
  const before = tf.memory().numTensors;
  await expect(loadModel(dir)).rejects.toThrow(new UserError(message));
  expect(tf.memory().numTensors, 'tensors left behind').toBe(before);
}

/** A loaded model that is gone when the test is over. */
async function load(dir: string): Promise<Model> {
  const model = await loadModel(dir);
  onTestFinished(() => model.dispose());
  return model;
}

const head = 'lm_head.weight';
const norm = 'model.language_model.norm.weight';
const position = 'model.vision_tower.embeddings.position_embedding.weight';

describe('a config is held against the files before anything of its sizes is made', () => {
  test.each([
    ['vision_config', 'num_hidden_layers', 1000, 'it names more layers than they have'],
    ['text_config', 'num_hidden_layers', 1000, 'it names more layers than they have'],
    ['vision_config', 'image_size', 4096, 'embeddings.position_embedding.weight is F32'],
    ['text_config', 'vocab_size', 2 ** 24, 'embed_tokens.weight is F32'],
  ])('%s.%s = %i', async (part, key, value, told) => {
    const checkpoint = await readCheckpoint('llava-v5keys');
    (checkpoint.config[part] as Record<string, number>)[key] = value;
    const dir = await writeCheckpoint(checkpoint);
    await expect(readCheckedConfig(dir)).rejects.toThrow(UserError);
    await expect(readCheckedConfig(dir)).rejects.toThrow(told);
  });

  test('a folder without weights has its config alone', async () => {
    const dir = await writeCheckpoint(await readCheckpoint('llava-v5keys'));
    await rm(path.join(dir, 'model.safetensors'));
    expect(await readCheckedConfig(dir)).toMatchObject({ kind: 'llava' });
  });
});

describe('names and shapes', () => {
  const refuse = async (change: (checkpoint: Checkpoint) => void, problems: string, cause = '') => {
    const checkpoint = await readCheckpoint('llava-v5keys');
    change(checkpoint);
    const dir = await writeCheckpoint(checkpoint);
    await expectRefusal(dir, `the weights in ${dir} do not fit its config.json${cause}: ${problems}`);
  };

  test('missing, unused and misshapen tensors are listed together', () =>
    refuse(
      ({ weights }) => {
        weights.delete(norm);
        weights.set('model.language_model.surplus', { shape: [2], data: new Float32Array(2) });
        weights.set(position, { shape: [17, 23], data: new Float32Array(17 * 23) });
      },
      '1 missing: language_model.model.norm.weight; ' +
        '1 unused: language_model.model.surplus; ' +
        '1 misshapen: vision_tower.vision_model.embeddings.position_embedding.weight is F32 [17, 23], should be float [17, 24]',
    ));

  test('of many, eight are named', () =>
    refuse(
      ({ weights }) => {
        for (let i = 0; i < 10; i++) weights.set(`extra.${i}`, { shape: [1], data: new Float32Array(1) });
      },
      `10 unused: ${Array.from({ length: 8 }, (_, i) => `extra.${i}`).join(', ')} and 2 more`,
    ));

  test('a config with one layer more than the file', () =>
    refuse(
      ({ config }) => {
        (config['text_config'] as { num_hidden_layers: number }).num_hidden_layers = 3;
      },
      '9 missing: language_model.model.layers.2.input_layernorm.weight, ' +
        ['q', 'k', 'v', 'o']
          .map((x) => `language_model.model.layers.2.self_attn.${x}_proj.weight`)
          .join(', ') +
        ', language_model.model.layers.2.post_attention_layernorm.weight, ' +
        ['gate', 'up'].map((x) => `language_model.model.layers.2.mlp.${x}_proj.weight`).join(', ') +
        ' and 1 more',
      ' (it names more layers than they have)',
    ));

  test.each([
    [
      'model.language_model.layers.0.mlp.up_proj.qweight',
      'they are quantised, and only plain float weights are read',
    ],
    [
      'model.language_model.layers.0.mlp.up_proj.lora_A.weight',
      'they are an adapter: merge it with its model first',
    ],
    [
      'model.mm_projector.0.weight',
      "they are in the layout of the LLaVA authors' own code: vtc convert makes one that is read",
    ],
  ])('%s tells what the weights are', async (name, cause) => {
    const checkpoint = await readCheckpoint('llava-v5keys');
    checkpoint.weights.set(name, { shape: [1], data: new Float32Array(1) });
    const dir = await writeCheckpoint(checkpoint);
    await expect(loadModel(dir)).rejects.toThrow(`do not fit its config.json (${cause}): 1 unused: `);
  });

  test('a config of other sizes', async () => {
    const checkpoint = await readCheckpoint('llava-v5keys');
    (checkpoint.config['text_config'] as { intermediate_size: number }).intermediate_size = 7;
    const dir = await writeCheckpoint(checkpoint);
    await expect(loadModel(dir)).rejects.toThrow("(it describes another model's sizes): 6 misshapen: ");
  });

  test('no head, unless the config ties it', () =>
    refuse(({ weights }) => weights.delete(head), '1 missing: language_model.lm_head.weight'));

  test('one weight under the names of two generations', async () => {
    const checkpoint = await readCheckpoint('llava-v5keys');
    checkpoint.weights.set('language_model.model.norm.weight', checkpoint.weights.get(norm)!);
    const dir = await writeCheckpoint(checkpoint);
    await expectRefusal(
      dir,
      `${dir}: tensors language_model.model.norm.weight and ${norm} are two names of one weight`,
    );
  });
});

describe('CLIP', () => {
  test('whole, it has both towers; its vision tower alone has no more than that', async () => {
    const whole = await load(golden('clip-model'));
    expect(whole.clip?.vision).toBe(whole.vision);
    expect(whole.clip!.text.weights.layers).toHaveLength(2);
    const part = await load(golden('clip-vision'));
    expect([part.clip, part.vision?.weights.layers.length]).toEqual([undefined, 3]);
  });

  test('the vision tower loads out of the whole one’s file', async () => {
    const { config, weights } = await readCheckpoint('clip-model');
    const vision = { ...(config['vision_config'] as object), model_type: 'clip_vision_model' };
    const { clip, vision: tower } = await load(await writeCheckpoint({ config: vision, weights }));
    expect([clip, tower?.weights.layers.length]).toEqual([undefined, 3]);
  });

  test('what its text tower and its projections lack is listed with the rest', async () => {
    const checkpoint = await readCheckpoint('clip-model');
    checkpoint.weights.delete('text_model.final_layer_norm.bias');
    checkpoint.weights.delete('logit_scale');
    checkpoint.weights.set('text_model.surplus', { shape: [1], data: new Float32Array(1) });
    checkpoint.weights.set('text_model.embeddings.position_ids', { shape: [1], data: new Float32Array(1) });
    checkpoint.config['projection_dim'] = 11;
    const dir = await writeCheckpoint(checkpoint);
    await expectRefusal(
      dir,
      `the weights in ${dir} do not fit its config.json: ` +
        '2 missing: text_model.final_layer_norm.bias, logit_scale; 1 unused: text_model.surplus; ' +
        '2 misshapen: visual_projection.weight is F32 [10, 24], should be float [11, 24], ' +
        'text_projection.weight is F32 [10, 16], should be float [11, 16]',
    );
  });
});

describe('storing what was loaded', () => {
  test.each(['clip-model', 'clip-vision', 'llava-v5keys', 'llama-bias'])(
    '%s, value for value',
    async (name) => {
      const architecture = await readArchitecture(golden(name));
      const files = await openWeights(golden(name));
      const table = weightTable(architecture);
      const source = publishedNames(files, architecture);
      const weights = await loadTree(source, table);
      const stored = await storeTree(table, weights);
      tf.dispose(weights as tf.TensorContainer);
      for (const [tensor, { shape, data }] of stored) {
        expect(shape, tensor).toEqual(source.tensors.get(tensor)!.shape);
        expect(data, tensor).toEqual(await source.readFloat32(tensor));
      }
      const left = [...source.tensors.keys()].filter((tensor) => !stored.has(tensor));
      expect(left.filter((tensor) => !unusedNames(architecture).test(tensor))).toEqual([]);
      await files.close();
    },
  );
});

describe('files', () => {
  test('no weights', async () => {
    const dir = await writeConfig(publishedLlava7b);
    await expectRefusal(dir, `${dir} has neither model.safetensors nor model.safetensors.index.json`);
  });

  /** The checkpoint in two shards with an index. */
  async function writeShards(name: string): Promise<string> {
    const { config, weights } = await readCheckpoint(name);
    const dir = await writeConfig(config);
    const weight_map: Record<string, string> = {};
    for (const shard of [1, 2]) {
      const file = `model-0000${shard}-of-00002.safetensors`;
      const part = [...weights].filter((_, i) => (i % 2) + 1 === shard);
      for (const [tensor] of part) weight_map[tensor] = file;
      const tensors = part.map(([tensor, values]) => [tensor, { dtype: 'F32' as const, ...values }] as const);
      await writeSafetensors(path.join(dir, file), new Map(tensors));
    }
    await writeFile(path.join(dir, 'model.safetensors.index.json'), JSON.stringify({ weight_map }));
    return dir;
  }

  test('shards load as one file does', async () => {
    const [sharded, whole] = [
      await load(await writeShards('clip-vision')),
      await load(golden('clip-vision')),
    ];
    const valuesOf = (node: unknown): number[] =>
      node instanceof tf.Tensor ? [...node.dataSync()] : Object.values(node as object).flatMap(valuesOf);
    expect(valuesOf(sharded.vision!.weights)).toEqual(valuesOf(whole.vision!.weights));
  });

  test('a shard that is not there', async () => {
    const dir = await writeShards('clip-vision');
    await rm(path.join(dir, 'model-00002-of-00002.safetensors'));
    await expectRefusal(
      dir,
      `${path.join(dir, 'model.safetensors.index.json')} names the shard ` +
        'model-00002-of-00002.safetensors, which is not in the folder',
    );
  });

  test('a generation_config.json that is wrong', async () => {
    const dir = await writeCheckpoint(await readCheckpoint('llama-bias'));
    const file = path.join(dir, 'generation_config.json');
    await writeFile(file, JSON.stringify({ eos_token_id: 'two' }));
    await expectRefusal(dir, `${file}: eos_token_id should be a token id or a list of them`);
  });
});

describe('stop tokens', () => {
  test('are the config’s, until generation_config.json names others', async () => {
    expect((await load(golden('llama-rope3'))).stopTokens).toEqual([2, 3]);
    expect((await load(golden('clip-vision'))).stopTokens).toEqual([]);
    const dir = await writeCheckpoint(await readCheckpoint('llama-bias'));
    expect((await load(dir)).stopTokens).toEqual([2]);
    await writeFile(path.join(dir, 'generation_config.json'), JSON.stringify({ eos_token_id: [5, 6] }));
    expect((await load(dir)).stopTokens).toEqual([5, 6]);
  });
});

describe('tied embeddings', () => {
  /** Largest error of the logits that a folder's decoder gives llama-rope3's prompt. */
  async function logitsError(dir: string): Promise<number> {
    const expected = await readExpected(golden('llama-rope3', 'expected.safetensors'));
    const { decoder } = await load(dir);
    const prompt = embedText(decoder!, await expected.ints('input_ids'));
    const session = await prefill(decoder!, prompt, { maxNewTokens: 1 });
    const wanted = await expected.float('decoder.logits');
    const last = tf.slice(wanted, [0, wanted.shape[1]! - 1, 0], [1, 1, -1]);
    const error = relativeError(session.logits, last);
    session.dispose();
    tf.dispose([prompt.hidden, prompt.positions, wanted, last]);
    await expected.close();
    return error;
  }

  const embedding = 'model.embed_tokens.weight';

  test('the head is not in the file: the embedding is read twice', async () => {
    const checkpoint = await readCheckpoint('llama-rope3');
    expect(checkpoint.weights.has(head)).toBe(false);
    expect(await logitsError(await writeCheckpoint(checkpoint))).toBeLessThan(1e-5);
  });

  test('only the head is in the file: it is read twice', async () => {
    const checkpoint = await readCheckpoint('llama-rope3');
    checkpoint.weights.set(head, checkpoint.weights.get(embedding)!);
    checkpoint.weights.delete(embedding);
    expect(await logitsError(await writeCheckpoint(checkpoint))).toBeLessThan(1e-5);
  });

  test('both are in the file: each is what it says, as transformers 5 has it', async () => {
    const checkpoint = await readCheckpoint('llama-rope3');
    const { shape, data } = checkpoint.weights.get(embedding)!;
    checkpoint.weights.set(head, { shape, data: data.map((x) => 2 * x) });
    expect(await logitsError(await writeCheckpoint(checkpoint))).toBeCloseTo(1, 4); // twice the logits
  });

  test('a bare LlamaModel, without the prefix of its names, loads too', async () => {
    const checkpoint = await readCheckpoint('llama-rope3');
    for (const [name, tensor] of [...checkpoint.weights]) {
      checkpoint.weights.delete(name);
      checkpoint.weights.set(name.replace(/^model\./, ''), tensor);
    }
    expect(await logitsError(await writeCheckpoint(checkpoint))).toBeLessThan(1e-5);
  });

  test('untied, the head in the file is what is read', async () => {
    const checkpoint = await readCheckpoint('llama-rope3');
    const { shape, data } = checkpoint.weights.get('model.embed_tokens.weight')!;
    checkpoint.config['tie_word_embeddings'] = false;
    checkpoint.weights.set(head, { shape, data: data.map((x) => 2 * x) });
    expect(await logitsError(await writeCheckpoint(checkpoint))).toBeCloseTo(1, 4); // twice the logits
  });
});

describe('the linear projector', () => {
  test('is W·x + b', async () => {
    const checkpoint = await readCheckpoint('llava-v5keys');
    const part = 'model.multi_modal_projector';
    checkpoint.config['mm_projector_type'] = 'linear';
    checkpoint.weights.delete(`${part}.linear_2.weight`);
    checkpoint.weights.delete(`${part}.linear_2.bias`);
    const { projector } = await load(await writeCheckpoint(checkpoint));

    const [W, b] = ['weight', 'bias'].map((x) => checkpoint.weights.get(`${part}.linear_1.${x}`)!);
    const [E, D] = W.shape;
    const features = Float32Array.from({ length: 2 * D }, (_, i) => Math.sin(i));
    const expected = Array.from({ length: 2 * E }, (_, i) => {
      const [token, e] = [Math.floor(i / E), i % E];
      return features
        .subarray(token * D, (token + 1) * D)
        .reduce((sum, x, d) => sum + x * W.data[e * D + d], b.data[e]);
    });
    const actual = tf.tidy(() => project(projector!, tf.tensor3d(features, [1, 2, D])).dataSync());
    expect(actual).toHaveLength(2 * E);
    for (const [i, value] of expected.entries()) expect(actual[i]).toBeCloseTo(value, 5);
  });

  test('refuses a file with two layers', async () => {
    const checkpoint = await readCheckpoint('llava-v5keys');
    checkpoint.config['mm_projector_type'] = 'linear';
    const dir = await writeCheckpoint(checkpoint);
    const names = ['bias', 'weight'].map((x) => `multi_modal_projector.linear_2.${x}`).join(', ');
    await expectRefusal(dir, `the weights in ${dir} do not fit its config.json: 2 unused: ${names}`);
  });
});

describe('memory', () => {
  test('a load that breaks off leaves nothing behind', async () => {
    const before = tf.memory().numTensors;
    let calls = 0;
    const loading = loadModel(golden('llava-layers'), () => {
      if (++calls === 20) throw new Error('enough');
    });
    await expect(loading).rejects.toThrow('enough');
    expect(tf.memory().numTensors).toBe(before);
  });

  /** A folder of LLaVA-1.5-7B: the real config and header, and a hole of 13 GiB in place of the data. */
  async function makeHollow7b(): Promise<string> {
    const dir = await writeConfig(publishedLlava7b);
    const header: Record<string, object> = {};
    let end = 0;
    for (const { name, shape } of leavesOf(weightTable(await readArchitecture(dir)))) {
      const begin = end;
      end += 2 * shape.reduce((product, n) => product * n, 1);
      header[name] = { dtype: 'F16', shape, data_offsets: [begin, end] };
    }
    const json = Buffer.from(JSON.stringify(header));
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(json.length));
    const file = await open(path.join(dir, 'model.safetensors'), 'w');
    await file.write(Buffer.concat([length, json]));
    await file.truncate(8 + json.length + end);
    await file.close();
    return dir;
  }

  test('wasm refuses LLaVA-1.5-7B before a weight is read', async () => {
    const dir = await makeHollow7b();
    expect((await stat(path.join(dir, 'model.safetensors'))).size).toBeGreaterThan(13e9);
    // Parameters, counted by hand: what matrix products read, and the rest.
    const [V, E, M, L] = [32064, 4096, 11008, 32];
    const [D, F, K, N] = [1024, 4096, 24, 577];
    const decoder = L * (4 * E * E + 3 * E * M) + V * E;
    const vision = K * (4 * D * D + 2 * D * F) + 3 * 14 * 14 * D;
    const matrices = 4 * (decoder + vision + D * E + E * E);
    const rest = 4 * (V * E + (2 * L + 1) * E + D + N * D + 2 * D + K * (9 * D + F) + 2 * E);
    const gib = (bytes: number) => `${(bytes / 1024 ** 3).toFixed(2)} GiB`;

    const seen: number[] = [];
    const otherwise =
      'whose heap holds 3.75 GiB: use --backend tensorflow; with --weights-as streamed it fits';
    await expect(loadModel(dir, (done) => seen.push(done), { weightsAs: 'float32' })).rejects.toThrow(
      new UserError(
        `${dir} needs about ${gib(2 * (matrices + tf.memory().numBytes) + rest)} on the wasm backend ` +
          `(${gib(matrices)} of float32 weights, each with a packed copy), ${otherwise}`,
      ),
    );
    // Left to itself it would keep 16 bits: all matrices but the patches' and the positions', and the embedding.
    const patches = 4 * 3 * 14 * 14 * D;
    const half = (matrices - patches + 4 * V * E) / 2;
    const wide = patches + rest - 4 * V * E;
    const block = 3 * 32 * 1024 ** 2;
    await expect(loadModel(dir, (done) => seen.push(done))).rejects.toThrow(
      new UserError(
        `${dir} needs about ${gib(half + 2 * (patches + tf.memory().numBytes) + wide - patches + block)} on the wasm backend ` +
          `(${gib(half)} of 16-bit weights and ${gib(patches)} of float32 weights, each with a packed copy), ${otherwise}`,
      ),
    );
    expect(seen).toEqual([]);
    expect(gib(matrices)).toBe('25.82 GiB');
  });

  test('progress counts every byte of float32, tensor by tensor', async () => {
    const seen: [number, number][] = [];
    const model = await loadModel(golden('clip-vision'), (done, total) => seen.push([done, total]));
    const [, total] = seen[0];
    const bytes = leavesOf(weightTable(model.architecture))
      .map(({ shape }) => 4 * shape.reduce((product, n) => product * n, 1))
      .sort((a, b) => b - a); // the largest are loaded first
    expect(seen.map(([done]) => done)).toEqual(
      bytes.map((_, i) => bytes.slice(0, i + 1).reduce((sum, n) => sum + n)),
    );
    expect(seen.at(-1)).toEqual([total, total]);
    model.dispose();
  });
});
