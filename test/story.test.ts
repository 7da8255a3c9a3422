/** The whole walk, from pixels to tokens, on tiny models made in memory. */
import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Llava } from '../src/checkpoint/load.ts';
import { findMethod, methods } from '../src/compress/registry.ts';
import type { Method, MethodOptions } from '../src/compress/method.ts';
import { UserError } from '../src/errors.ts';
import { decode, prefill } from '../src/decoder/generate.ts';
import { embedText, spliceImage } from '../src/decoder/splice.ts';
import type { ImagePrompt } from '../src/text/prompt.ts';
import { imagePlaces } from '../src/decoder/cut.ts';
import { identity } from '../src/tensor/token-matrix.ts';
import { axesOf, createTrace, type RecordedTrace } from '../src/tensor/trace.ts';
import { visualTokenCount } from '../src/checkpoint/architecture.ts';
import type { Answer } from '../src/story.ts';
import { project } from './reference/projector.ts';
import { describeEachBackend } from './support/backends.ts';
import { runVlm, type RunOptions } from './support/methods.ts';
import {
  axis,
  draw,
  expectEqual,
  expectNear,
  expectNewTensors,
  randoms,
  seededRandom,
  tidyEachTest,
  toArrays,
} from './support/random.ts';
import { tinyLlava } from './support/tiny.ts';

const runs = { numRuns: 20 };
const P = 16;
const prompts = [
  { before: [1, 5], after: [7, 3, 4] },
  { before: [1, 5, 6], after: [9, 2] },
  { before: [], after: [1, 1, 12, 2, 8] },
];

const vtcCls = (layers: number, budget: number, more: Partial<RunOptions> = {}): RunOptions => ({
  method: findMethod('vtc-cls'),
  methodOptions: { layers, ensemble: 'sum' },
  budget,
  positions: 'contiguous',
  maxNewTokens: 3,
  ...more,
});
const uncompressed: RunOptions = { ...vtcCls(1, P), method: findMethod('none'), methodOptions: {} };

/** Runs with a trace; its tensors are the test's. */
async function traced(
  model: Llava,
  pixels: number[][][][],
  options: RunOptions,
  items = prompts,
): Promise<{ answer: Answer; trace: RecordedTrace }> {
  const trace = createTrace();
  const input = { pixels: tf.tensor4d(pixels), prompts: items.slice(0, pixels.length) };
  const answer = await runVlm(model, input, { ...options, trace });
  return { answer, trace };
}

describeEachBackend('a vision-language model', () => {
  tidyEachTest();

  test('U = P reproduces the unpruned logits bit by bit, under both kinds of positions', async () => {
    await fc.assert(
      fc.asyncProperty(randoms, axis(3), axis(3), async (random, K, B) => {
        const model = tinyLlava(random);
        const pixels = draw(random, [B, 9, 9, 3]);
        const full = await traced(model, pixels, uncompressed);
        expect(full.answer.kept).toEqual(pixels.map(() => [...Array(P).keys()]));
        for (const positions of ['contiguous', 'original'] as const) {
          const all = await traced(model, pixels, vtcCls(K, P, { positions }));
          const name = 'decoder.logits';
          expectEqual(all.trace.tensors.get(name)!, full.trace.tensors.get(name)!, name);
          expect([all.answer.tokens, all.answer.kept]).toEqual([full.answer.tokens, full.answer.kept]);
          all.trace.dispose();
        }
        full.trace.dispose();
      }),
      runs,
    );
  });

  test('a batch equals its pictures one by one', async () => {
    await fc.assert(
      fc.asyncProperty(
        randoms,
        axis(3),
        axis(P),
        fc.constantFrom('contiguous' as const, 'original' as const),
        async (random, K, U, positions) => {
          const model = tinyLlava(random);
          const pixels = draw(random, [3, 9, 9, 3]);
          const batch = await traced(model, pixels, vtcCls(K, U, { positions }));
          const edges = batch.answer.scores!.map((row) => [...row].sort((a, b) => b - a));
          const clear = edges.every((row) => U === P || row[U - 1] - row[U] > 1e-6); // no tie but for rounding
          for (const b of clear ? [0, 1, 2] : []) {
            const item = await traced(model, [pixels[b]], vtcCls(K, U, { positions }), [prompts[b]]);
            expect(item.answer.kept![0]).toEqual(batch.answer.kept![b]);
            for (const [key, tensor] of item.trace.tensors) {
              if (key === 'generate.tokens') continue; // an argmax between two nearly equal logits may differ
              const wanted = tf.slice(batch.trace.tensors.get(key)!, [b], [1]);
              expectNear(tensor, wanted.arraySync(), key, 5e-6);
            }
            item.trace.dispose();
          }
          batch.trace.dispose();
          fc.pre(clear);
        },
      ),
      runs,
    );
  });

  test('the trace holds every name once, in the axes of the legend, with one length for each letter', async () => {
    const model = tinyLlava(seededRandom(4));
    const { answer, trace } = await traced(model, draw(seededRandom(5), [2, 9, 9, 3]), vtcCls(2, 5));
    const layers = (name: string, n: number) => Array.from({ length: n }, (_, l) => `${name}.0${l}`);
    expect([...trace.tensors.keys()].sort()).toEqual(
      [
        'vision.pixels',
        ...layers('vision.hidden', 5),
        ...layers('vision.attention', 4),
        ...layers('vision.clsAttention', 3).slice(1),
        'vision.features',
        'compress.matrix',
        'compress.features',
        'compress.scores',
        'compress.kept',
        'projector.output',
        'decoder.embeddings',
        ...layers('decoder.hidden', 4),
        ...layers('decoder.attention', 3),
        'decoder.logits',
        'generate.tokens',
      ].sort(),
    );
    const legend = { B: 2, S: 9, P, N: 1 + P, D: 6, U: 5, Z: 5, W: 6, E: 8, T: 10, V: 19, R: 3 };
    for (const [key, tensor] of trace.tensors) {
      const H = key.startsWith('vision') ? 2 : 4;
      const expected = axesOf(key)!
        .split(' ')
        .map((letter) => ({ ...legend, H })[letter] ?? Number(letter));
      expect(tensor.shape, key).toEqual(expected);
    }
    expect(trace.tensors.get('compress.kept')!.arraySync()).toEqual(answer.kept);
    expect(trace.tensors.get('compress.scores')!.arraySync()).toEqual(answer.scores!.map((row) => [...row]));
    expect(trace.tensors.get('generate.tokens')!.arraySync()).toEqual(answer.tokens);
    expect([answer.promptTokens, answer.prefillLengths]).toEqual([10, [10, 10, 10]]);
    trace.dispose();
  });

  test('every step’s milliseconds are of what its line says, and none are the observer’s', async () => {
    const model = tinyLlava(seededRandom(14));
    const input = { pixels: tf.tensor4d(draw(seededRandom(15), [1, 9, 9, 3])), prompts: [prompts[0]] };
    let time = 0;
    const slow: Method = {
      ...findMethod('none'),
      stages: ['tower', 'before', 'between'],
      prepare: () => ({
        inTower: (layer) => ((time += layer === 1 ? 30 : 0), identity(1, P)),
        choose: ({ F, project }) => (project(F).dispose(), (time += 50), { W: identity(1, P) }),
        between: () => ({
          cut: (layer, { roles }) => (
            (time += layer === 1 ? 70 : 0),
            identity(1, imagePlaces(roles)[0].length)
          ),
          limit: (layer) => ((time += layer === 2 ? 90 : 0), {}),
        }),
      }),
    };
    const onStep = () => void (time += 1000);
    const trace = createTrace(() => false, { onStep, now: () => time });
    await runVlm(model, input, { ...uncompressed, method: slow, trace, maxNewTokens: 1 });
    const took = trace.steps.filter(({ milliseconds }) => milliseconds > 0);
    expect(Object.fromEntries(took.map(({ name, milliseconds }) => [name, milliseconds]))).toEqual({
      'vision.matrix.01': 30,
      'compress.matrix': 50,
      'decoder.matrix.01': 70,
      'decoder.hidden.03': 90,
    });
    expect(trace.steps).toHaveLength(new Set(trace.steps.map(({ name }) => name)).size);
  });

  test('an untraced run returns the same numbers', async () => {
    await fc.assert(
      fc.asyncProperty(randoms, axis(3), axis(P), async (random, K, U) => {
        const model = tinyLlava(random);
        const pixels = draw(random, [2, 9, 9, 3]);
        const { answer, trace } = await traced(model, pixels, vtcCls(K, U));
        const plain = await runVlm(
          model,
          { pixels: tf.tensor4d(pixels), prompts: prompts.slice(0, 2) },
          vtcCls(K, U),
        );
        expect(plain).toEqual(answer);
        const rows = [...trace.tensors.keys()].filter((key) => key.startsWith('vision.clsAttention'));
        expect(rows.map((key) => Number(key.slice(-1)))).toEqual([0, 1, 2].slice(3 - K));
        trace.dispose();
      }),
      runs,
    );
  });

  test('the layers above the selected one never run', async () => {
    const random = seededRandom(6);
    const model = tinyLlava(random);
    const input = { pixels: tf.tensor4d(draw(random, [1, 9, 9, 3])), prompts: [prompts[0]] };
    const clean = await runVlm(model, input, vtcCls(3, 4));
    model.vision.weights.layers.pop(); // layer 3; to run it would throw
    expect(await runVlm(model, input, vtcCls(3, 4))).toEqual(clean);
    model.vision.weights.layers[2].mlp.fc2.bias = tf.fill([6], NaN);
    await expect(runVlm(model, input, vtcCls(3, 4))).rejects.toThrow('decoder.logits hold NaN');
    model.vision.weights.layers[1].mlp.fc2.bias = tf.fill([6], NaN);
    await expect(runVlm(model, input, vtcCls(3, 4))).rejects.toThrow('compress.scores[0, 0] is NaN');
  });

  test('a checkpoint that keeps [CLS], or joins several layers, has one more token, or wider ones', async () => {
    const random = seededRandom(7);
    const pixels = draw(random, [2, 9, 9, 3]);
    const withCls = tinyLlava(random, { vision_feature_select_strategy: 'full' });
    expect(visualTokenCount(withCls.config)).toBe(17);
    const full = await traced(withCls, pixels, uncompressed);
    const all = await traced(withCls, pixels, vtcCls(2, P, { positions: 'original' }));
    const some = await traced(withCls, pixels, vtcCls(2, 4));
    expectEqual(
      all.trace.tensors.get('decoder.logits')!,
      full.trace.tensors.get('decoder.logits')!,
      'logits',
    );
    expect([all.answer.promptTokens, some.answer.promptTokens]).toEqual([17 + 5, 5 + 5]);
    const joined = tinyLlava(random, { vision_feature_layer: [3, 1, 2] });
    const wide = await traced(joined, pixels, vtcCls(3, 4));
    expect(wide.answer.promptTokens).toBe(4 + 5);
    expect([...wide.trace.tensors.keys()].filter((key) => key.startsWith('vision.cls'))).toHaveLength(3);
    for (const { trace } of [full, all, some, wide]) trace.dispose();
  });

  test.each([
    ['default', [3]],
    ['full', [3]],
    ['default', [3, 1, 2]],
    ['full', [0, 3]],
  ] as const)(
    'V is the projected kept patches, [CLS] %s, of hidden %j side by side',
    async (strategy, layers) => {
      const random = seededRandom(10);
      const model = tinyLlava(random, {
        vision_feature_layer: [...layers],
        vision_feature_select_strategy: strategy,
      });
      const { answer, trace } = await traced(model, draw(random, [2, 9, 9, 3]), vtcCls(2, 5));
      const hidden = layers.map((l) => (trace.tensors.get(`vision.hidden.0${l}`) as tf.Tensor3D).arraySync());
      const weights = toArrays(model.projector.weights);
      const expected = answer.kept!.map((kept, b) => {
        const tokens = [...(strategy === 'full' ? [0] : []), ...kept.map((patch) => 1 + patch)];
        const features = tokens.map((n) => hidden.flatMap((layer) => layer[b][n]));
        return project(weights, features, 'gelu');
      });
      expectNear(trace.tensors.get('projector.output')!, expected, 'V');
      trace.dispose();
    },
  );

  test('with original positions the answer goes on behind the uncut prompt', async () => {
    const random = seededRandom(8);
    const model = tinyLlava(random);
    const pixels = draw(random, [1, 9, 9, 3]);
    const original = await traced(model, pixels, vtcCls(3, 4, { positions: 'original' }));
    const contiguous = await traced(model, pixels, vtcCls(3, 4));
    const difference = (name: string) =>
      tf
        .max(tf.abs(tf.sub(original.trace.tensors.get(name)!, contiguous.trace.tensors.get(name)!)))
        .arraySync();
    expect(difference('decoder.embeddings')).toBe(0);
    expect(difference('decoder.logits')).toBeGreaterThan(1e-3); // RoPE sees the gaps
    original.trace.dispose();
    contiguous.trace.dispose();
  });

  test('a run leaves no tensor behind, traced or not, also when it throws', async () => {
    const random = seededRandom(9);
    const model = tinyLlava(random);
    const input = { pixels: tf.tensor4d(draw(random, [3, 9, 9, 3])), prompts };
    const merging: Method = { ...findMethod('none'), makesTokens: true };
    const failing: Method = {
      ...findMethod('none'),
      stages: ['between'],
      prepare: () => ({
        between: () => ({
          cut: (layer) =>
            layer === 2 ? Promise.reject(new Error('a cut that throws')) : Promise.resolve(undefined),
        }),
      }),
    };
    const run = (options: RunOptions) => () => runVlm(model, input, options);
    for (const positions of ['contiguous', 'original'] as const) {
      await expectNewTensors(0, `vtc-cls, ${positions}`, run(vtcCls(3, 5, { positions })));
      await expectNewTensors(0, `uncompressed, ${positions}`, run({ ...uncompressed, positions }));
    }
    await expectNewTensors(0, 'a traced run', async () => {
      const trace = createTrace();
      await run(vtcCls(3, 5, { trace }))();
      trace.dispose();
    });
    const throwing: Record<string, RunOptions> = {
      'too many layers': vtcCls(4, 5),
      'a budget over P': vtcCls(3, 17),
      'more tokens than the context': vtcCls(3, 5, { maxNewTokens: 99 }),
      'original positions of merged tokens': { ...uncompressed, method: merging, positions: 'original' },
      'a failing cut': { ...uncompressed, method: failing },
      'an aborted run': vtcCls(3, 5, { signal: AbortSignal.abort() }),
    };
    for (const [what, options] of Object.entries(throwing)) {
      await expectNewTensors(0, what, run(options), true);
    }
    const ragged = { ...input, prompts: [prompts[0], prompts[1], { before: [], after: [1] }] };
    await expectNewTensors(0, 'prompts of unlike lengths', () => runVlm(model, ragged, vtcCls(3, 5)), true);
  });

  test('what cannot be is refused with its numbers before anything runs, and leaves no tensor', async () => {
    const random = seededRandom(10);
    const model = tinyLlava(random);
    const pixels = tf.tensor4d(draw(random, [1, 9, 9, 3]));
    const gone = tf.clone(pixels);
    gone.dispose();
    const own = [prompts[0]];
    const sampling = { temperature: 1, topK: 0, topP: 1 };
    const options: [Partial<Record<keyof RunOptions, unknown>>, string][] = [
      [{ maxNewTokens: 1.5 }, 'maxNewTokens=1.5 is not a whole number from 0'],
      [{ maxNewTokens: NaN }, 'maxNewTokens=NaN is not'],
      [{ maxNewTokens: -1 }, 'maxNewTokens=-1 is not'],
      [{ positions: 'contigous' }, 'positions are contiguous or original, not "contigous"'],
      [{ sampling: { ...sampling, temperature: -1 } }, 'temperature=-1 is not a number of 0 or more'],
      [{ sampling: { ...sampling, temperature: NaN } }, 'temperature=NaN is not'],
      [{ sampling: { ...sampling, topK: 0.5 } }, 'topK=0.5 is not a whole number from 0'],
      [{ sampling: { ...sampling, topP: 1.5 } }, 'topP=1.5 is not a share, from 0 to 1'],
      [{ seed: 0.5 }, 'seed=0.5 is not a whole number'],
      [{ stopTokens: [-1] }, 'stopTokens: -1 is not a token id'],
      [{ budget: 0.5 }, 'vtc-cls: a budget of 0.5 is not between 1 and 16 visual tokens'],
      [{ methodOptions: { layers: '3', ensemble: 'sum' } }, 'vtc-cls: layers="3" is not a number'],
      [{ methodOptions: { layers: 3 } }, 'vtc-cls: ensemble=undefined is not a text'],
      [{ methodOptions: { layers: 3, ensemble: 'most' } }, 'vtc-cls: ensemble="most": choose sum, '],
      [
        { methodOptions: { layers: 3, ensemble: 'sum', k: 1 } },
        'vtc-cls: k=1: the method has no such option',
      ],
    ];
    const cases: [tf.Tensor, ImagePrompt[], object, string][] = [
      ...options.map(
        ([more, message]) => [pixels, own, more, message] as [tf.Tensor, ImagePrompt[], object, string],
      ),
      [gone, own, {}, 'pixels are disposed'],
      [tf.zeros([1, 8, 9, 3]), own, {}, 'pixels are float32 [1, 8, 9, 3], should be float32 [B, 9, 9, 3]'],
      [tf.zeros([9, 9, 3]), own, {}, 'pixels are float32 [9, 9, 3], should be'],
      [tf.zeros([1, 9, 9, 3], 'int32'), own, {}, 'pixels are int32 [1, 9, 9, 3], should be'],
      [tf.zeros([2, 9, 9, 3]), own, {}, 'pixels are of 2 pictures, but there are 1 prompts'],
      [tf.fill([1, 9, 9, 3], NaN), own, {}, 'pixels hold NaN'],
      [tf.fill([1, 9, 9, 3], Infinity), own, {}, 'pixels hold Infinity'],
      [pixels, [], {}, 'a batch needs at least one prompt'],
      [pixels, [{ before: [1e6], after: [] }], {}, 'the prompt: 1000000 is not a token id (0 .. '],
      [pixels, [{ before: [1.5], after: [] }], {}, 'the prompt: 1.5 is not a token id (0 .. '],
    ];
    for (const [tensor, asked, more, message] of cases) {
      const before = tf.memory().numTensors;
      const input = { pixels: tensor as tf.Tensor4D, prompts: asked };
      const running = runVlm(model, input, { ...vtcCls(3, 5), ...more });
      await expect(running).rejects.toThrow(UserError);
      await expect(running).rejects.toThrow(message);
      expect(tf.memory().numTensors, message).toBe(before);
    }
  });

  test("the decoder's own calls refuse what they cannot take", async () => {
    const { decoder } = tinyLlava(seededRandom(11));
    const refused = (ids: number[][]) => () => embedText(decoder, ids);
    expect(refused([])).toThrow('a batch needs at least one prompt');
    expect(refused([[]])).toThrow('a prompt needs at least one token');
    expect(refused([[1], [1, 2]])).toThrow('the prompts of a batch have 1, 2 tokens');
    expect(refused([[1, -1]])).toThrow('the prompt: -1 is not a token id');
    const visual = tf.zeros<tf.Rank.R3>([1, 2, decoder.config.hidden_size]);
    const places = { places: [[0, 4]], length: 4 };
    const splicing = () => spliceImage(decoder, [{ before: [1], after: [] }], visual, places);
    expect(splicing).toThrow('original places should be 1 rows of 2 whole numbers from 0 to 3');
    const session = await prefill(decoder, embedText(decoder, [[1, 2]]), { maxNewTokens: 2 });
    const more = decode(decoder, session, { maxNewTokens: 9 });
    await expect(more).rejects.toThrow('9 new tokens are asked for, but the prompt was read for 3 at most');
    session.dispose();
    await expect(decode(decoder, session, { maxNewTokens: 1 })).rejects.toThrow('this session is disposed');
  });

  test('methods between the layers leave the text at its places, and image tokens where they say', async () => {
    const model = tinyLlava(seededRandom(12));
    const pixels = tf.tensor4d(draw(seededRandom(13), [1, 9, 9, 3]));
    for (const method of methods) {
      if (method.stages[0] !== 'between') continue;
      const stages: MethodOptions = method.name === 'pyramiddrop' ? { stages: 3 } : {};
      let last: { positions: number[]; roles: string[] } | undefined;
      const watched: Method = {
        ...method,
        prepare: (...asked) => {
          const { between } = method.prepare(...asked);
          return {
            between() {
              const hook = between!();
              return {
                ...hook,
                limit(l, state, past, sizes) {
                  if (past === 0) last = { positions: state.positions.arraySync()[0], roles: state.roles[0] };
                  return hook.limit?.(l, state, past, sizes) ?? {};
                },
              };
            },
          };
        },
      };
      const options = {
        ...uncompressed,
        method: watched,
        methodOptions: { ...method.defaults, ...stages },
        budget: 4,
      };
      await runVlm(model, { pixels, prompts: [prompts[0]] }, options);
      const placesOf = (role: string) => last!.positions.filter((_, i) => last!.roles[i] === role);
      expect(placesOf('text'), method.name).toEqual([0, 1, 18, 19, 20]);
      const image = placesOf('image');
      // Of 16 patches at 2 to 17: means of four neighbours, or what is left of them.
      if (method.name === 'llavolta') expect(image, method.name).toEqual([3, 7, 11, 15]);
      else
        expect(
          image.every((place) => place >= 2 && place <= 17),
          method.name,
        ).toBe(true);
    }
  });
});
