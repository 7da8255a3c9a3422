/** A tower without [CLS]: its blocks are CLIP's, and every token is a patch. */
import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { checked } from '../../src/compress/checked.ts';
import type { Method } from '../../src/compress/method.ts';
import { picking, pickingSame } from '../../src/tensor/token-matrix.ts';
import { findMethod, methods } from '../../src/compress/registry.ts';
import { visualTokenCount, type LlavaConfig } from '../../src/checkpoint/architecture.ts';
import { joinClip } from '../../src/checkpoint/load.ts';
import { UserError } from '../../src/errors.ts';
import { visionMacs } from '../../src/cost.ts';
import { describeSource, prepare } from '../../src/plan.ts';
import { createTrace } from '../../src/tensor/trace.ts';
import type { ImagePrompt } from '../../src/text/prompt.ts';
import { runClipVision } from '../../src/vision/clip.ts';
import { patchCount, type ClipVisionConfig } from '../../src/vision/config.ts';
import { embedImage } from '../../src/vision/embeddings.ts';
import { clipTower } from '../../src/vision/tower.ts';
import * as twin from '../reference/vision.ts';
import { describeEachBackend } from '../support/backends.ts';
import { runVlm } from '../support/methods.ts';
import { axis, draw, expectNear, randoms, seededRandom, tidyEachTest, toArrays } from '../support/random.ts';
import {
  tinyClip,
  tinyLlamaConfig,
  tinyLlava,
  tinyVision,
  tinyVisionConfig,
  visionConfigs,
} from '../support/tiny.ts';

const siglip = (config: ClipVisionConfig): ClipVisionConfig => ({
  ...config,
  model_type: 'siglip_vision_model',
});
const vision = siglip(tinyVisionConfig);
const text = { ...tinyLlamaConfig, num_hidden_layers: 4 };
const overrides: Partial<LlavaConfig> = { vision, text, vision_feature_select_strategy: 'full' };
const [S, P, L] = [vision.image_size, patchCount(vision), vision.num_hidden_layers];
const every = (n: number) => [...Array(n).keys()];
const runs = { numRuns: 20 };

describeEachBackend('SigLIP vision', () => {
  tidyEachTest();

  test('what enters the first block, every hidden state and every attention equal their twins', () => {
    fc.assert(
      fc.property(randoms, visionConfigs.map(siglip), axis(2), (random, config, B) => {
        const tower = tinyVision(random, config);
        expect(tower.weights.patch_embedding.bias!.shape).toEqual([config.hidden_size]);
        expect(tower.weights.position_embedding.shape[0]).toBe(patchCount(config));
        const pixels = draw(random, [B, config.image_size, config.image_size, 3]);
        const layers = config.num_hidden_layers;
        const needs = { hidden: every(layers + 1), attention: every(layers) };
        const seen = runClipVision(tower, tf.tensor4d(pixels), needs);
        const arrays = toArrays(tower.weights);
        const expected = pixels.map((picture) => twin.runClipVision(arrays, picture, config));
        const first = embedImage(tower.weights, tf.tensor4d(pixels), config);
        expectNear(first, pixels.map((picture) => twin.embedImage(arrays, picture, config)), 'tokens'); // prettier-ignore
        for (const [i, hidden] of seen.hidden) {
          expectNear(hidden, expected.map((item) => item.hidden[i]), `hidden ${i}`, 3e-5); // prettier-ignore
        }
        for (const [l, attention] of seen.attention) {
          expectNear(attention, expected.map((item) => item.attention[l]), `attention ${l}`, 3e-5); // prettier-ignore
        }
      }),
      runs,
    );
  });

  test('all of its tokens are features; picked ones are those of the whole layer, and so is a picture of as many patches', async () => {
    const random = seededRandom(3);
    const tower = clipTower(tinyVision(random, vision));
    const pixels = tf.tensor4d(draw(random, [2, S, S, 3]));
    const whole = await tower.run(pixels, { features: [3] }, undefined, createTrace(() => false)); // prettier-ignore
    const open = await tower.run(pixels, { features: [3] });
    const W = picking([[0, 7, 15], [1, 2, 3]], P); // prettier-ignore
    expect(whole.features.F().shape).toEqual([2, P, vision.hidden_size]);
    expect(whole.features.cls()).toBeUndefined();
    expectNear(open.features.times(W), whole.features.times(W).arraySync(), 'picked');
    const same = await tower.run(pixels, { features: [3] }, { grid: Math.sqrt(P) });
    expectNear(same.features.F(), whole.features.F().arraySync(), 'a picture of G × G patches', 1e-4);
    const uncut = await tower.run(pixels, { features: [3] }, () => undefined);
    expectNear(uncut.features.F(), whole.features.F().arraySync(), 'a cut that cuts nothing');
  });

  test('in its layers W is of all tokens: what a cut drops before the first MLP, the second layer never sees', async () => {
    const random = seededRandom(4);
    const model = tinyVision(random, vision);
    const pixels = tf.tensor4d(draw(random, [1, S, S, 3]));
    const kept = [0, 5, 9, 14];
    const sizes: number[] = [];
    const cut = await clipTower(model).run(pixels, { features: [2] }, (layer, view) => {
      sizes.push(view.sizes[0].length);
      return layer === 0 ? pickingSame(kept, 1, P) : undefined;
    });
    expect(sizes).toEqual([P, kept.length]);
    // By hand: the first layer's output at the kept places, then the second layer among them.
    const [arrays] = [toArrays(model.weights)];
    const picture = (pixels.arraySync() as number[][][][])[0];
    const first = twin.clipBlock(arrays.layers[0], twin.embedImage(arrays, picture, vision), vision).hidden;
    const second = twin.clipBlock(arrays.layers[1], kept.map((p) => first[p]), vision).hidden; // prettier-ignore
    expectNear(cut.features.F(), [second], 'the second layer', 3e-5);
  });

  test('every method runs to an answer, or says that it needs [CLS]', async () => {
    const random = seededRandom(5);
    const model = tinyLlava(random, overrides);
    const pixels = tf.tensor4d(draw(random, [1, S, S, 3]));
    const prompts: ImagePrompt[] = [{ before: [1, 4], after: [5, 6] }];
    const refused: string[] = [];
    for (const method of methods) {
      if (method.name === 'cdpruner') continue; // it needs a CLIP of the same tower, and there is none
      const options = { methodOptions: method.defaults, budget: method.name === 'downsample' ? 4 : 6 };
      try {
        const { promptTokens, prefillLengths } = await runVlm(
          model,
          { pixels, prompts },
          { method: checked(method), ...options, maxNewTokens: 2 },
        );
        const stays = method.stages[0] === 'between' || method.name === 'none';
        if (stays) expect(promptTokens, method.name).toBe(4 + P);
        else expect(promptTokens, method.name).toBeLessThan(4 + P);
        expect(prefillLengths.length).toBe(model.config.text.num_hidden_layers);
      } catch (error) {
        expect((error as Error).message, method.name).toMatch(
          /^[\w+-]+ needs the attention of \[CLS\], but this vision tower has no such token: divprune, fopru, random, uniform and fastv do without$/,
        );
        refused.push(method.name);
      }
    }
    expect(refused).toEqual(
      ['vtc-cls', 'fastervlm', 'hired', 'vispruner', 'hybrid', 'visionzip', 'prumerge', 'prumerge+', 'tome'], // prettier-ignore
    );
  });
});

describe('a LLaVA of it', () => {
  const { config } = tinyLlava(seededRandom(1), overrides);
  const mine: Method = {
    ...findMethod('uniform'),
    name: 'mine',
    defaults: {},
    prepare: () => ({ needs: { clsAttention: [0] } }),
  };

  test('takes P tokens in the prompt, of which none is [CLS]', () => {
    expect(visualTokenCount(config)).toBe(P);
    expect(describeSource(config)).toMatchObject({ prefixTokens: 0, patches: P, visualTokens: P });
    expect(prepare(config, { method: findMethod('none'), methodOptions: {}, budget: P }).keepsCls).toBe(
      false,
    );
    const { hidden_size: D, intermediate_size: M, patch_size } = vision;
    expect(visionMacs(vision, L)).toBe(
      P * 3 * patch_size ** 2 * D + L * (4 * P * D * D + 2 * P * P * D + 2 * P * D * M),
    );
  });

  test('a method of one’s own that asks for [CLS] is refused before anything runs', () => {
    expect(() => prepare(config, { method: mine, methodOptions: {}, budget: 3 })).toThrow(
      new UserError(
        'mine needs the attention of [CLS], but this vision tower has no such token: divprune, fopru, random, uniform and fastv do without',
      ),
    );
  });

  test('no CLIP is of its tower', async () => {
    const random = seededRandom(2);
    await expect(joinClip(tinyLlava(random, overrides), tinyClip(random), 'DIR')).rejects.toThrow(
      new UserError("DIR is not the CLIP of this LLaVA's vision tower, which is SigLIP's"),
    );
  });
});
