/** The methods between the decoder's layers against PyTorch's numbers, from transformers' own modules. */
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { loadModel } from '../../src/node/checkpoint.ts';
import type { MethodOptions } from '../../src/compress/method.ts';
import { findMethod } from '../../src/compress/registry.ts';
import type { Llama } from '../../src/decoder/llama.ts';
import type { DecoderState } from '../../src/decoder/state.ts';
import { describeEachBackend } from '../support/backends.ts';
import { expectClose, golden, readExpected, type Expected } from '../support/golden.ts';
import { runHooked, sourceOf } from '../support/hooks.ts';
import { hookOf } from '../support/methods.ts';
import { tidyEachTest } from '../support/random.ts';

const inactive = '1.0+2.3+3.1+3.2+4.0';
const off = { window: 0, heads: '', ffn: 1, layer: 6, mask: 'release' };
const cut = { ...off, mask: 'cut' };

/** Of a case of field-decoder.safetensors: the method, the budget of 16 and the options. */
const cases: [string, string, number, MethodOptions][] = [
  ['full', 'vtw', 16, { layer: 6 }],
  ['fastv.last', 'fastv', 5, { layer: 2, rows: 'last' }],
  ['fastv.all', 'fastv', 6, { layer: 1, rows: 'all' }],
  ['vtw', 'vtw', 8, { layer: 0 }],
  ['pyramiddrop', 'pyramiddrop', 2, { stages: 4 }],
  ['llavolta', 'llavolta', 4, { layer: 2 }],
  ['sparsevlm', 'sparsevlm', 4, { recycle: 0.3 }],
  ['sparsevlm.all', 'sparsevlm', 4, { recycle: 1 }],
  ['yopo.window', 'yopo', 16, { ...off, window: 3 }],
  ['yopo.heads', 'yopo', 16, { ...off, heads: inactive }],
  ['yopo.ffn', 'yopo', 16, { ...off, ffn: 2 }],
  ['yopo.layer', 'yopo', 16, { ...off, layer: 4 }],
  ['yopo', 'yopo', 16, { window: 3, heads: inactive, ffn: 2, layer: 4, mask: 'release' }],
  ['yopo.cut.window', 'yopo', 16, { ...cut, window: 3 }],
  ['yopo.cut.heads', 'yopo', 16, { ...cut, heads: inactive }],
  ['yopo.cut', 'yopo', 16, { window: 3, heads: inactive, ffn: 2, layer: 4, mask: 'cut' }],
];

describeEachBackend('PyTorch’s', () => {
  tidyEachTest();
  let file: Expected;
  let stored: Expected;
  beforeAll(async () => {
    file = await readExpected(golden('field-decoder.safetensors'));
    stored = await readExpected(golden('llava-v5keys', 'expected.safetensors'));
  });
  afterAll(async () => {
    await file.close();
    await stored.close();
  });

  test.each(cases)('%s: the tokens of every layer, and the logits', async (name, method, budget, options) => {
    const { decoder, input } = await readCase(stored);
    const hook = hookOf(findMethod(method), sourceOf({ L: 6, P: 16 }), budget, options);
    const run = await runHooked(decoder, input, hook);
    for (const [l, positions] of run.positions.entries()) {
      expect(positions, `layer ${l}`).toEqual(await file.ints(`${name}.positions.0${l}`));
    }
    const [B, T, V] = run.logits.shape;
    const last = tf.reshape(tf.slice(run.logits, [0, T - 1, 0], [B, 1, V]), [B, V]);
    expectClose(last, await file.float(`${name}.logits`), 'logits', 2e-5);
  });

  test('no case is left out', () => {
    const names = file.names.filter((name) => name.endsWith('.logits'));
    expect(names.sort()).toEqual(cases.map(([name]) => `${name}.logits`).sort());
  });
});

/** The golden checkpoint's two layers three times over, and its prompts as they enter the decoder. */
async function readCase(stored: Expected): Promise<{ decoder: Llama; input: DecoderState }> {
  const { decoder, config } = (await loadModel(golden('llava-v5keys'))).llava!;
  const ids = await stored.ints('input_ids');
  const layers = [0, 1, 2].flatMap(() => decoder.weights.layers);
  return {
    decoder: {
      config: { ...decoder.config, num_hidden_layers: layers.length },
      weights: { ...decoder.weights, layers },
    },
    input: {
      hidden: (await stored.float('decoder.hidden.00')) as tf.Tensor3D,
      positions: tf.tensor2d(
        ids.map((row) => [...row.keys()]),
        undefined,
        'int32',
      ),
      roles: ids.map((row) => row.map((id) => (id === config.image_token_index ? 'image' : 'text'))),
    },
  };
}
