/** Whatever happens, a run leaves as many tensors as it found. */
import * as tf from '@tensorflow/tfjs-core';
import { expect, test } from 'vitest';
import { loadModel } from '../src/node/checkpoint.ts';
import type { Llava } from '../src/checkpoint/load.ts';
import type { Method, MethodOptions } from '../src/compress/method.ts';
import { findMethod, methods } from '../src/compress/registry.ts';
import { generate } from '../src/decoder/generate.ts';
import { embedText } from '../src/decoder/splice.ts';
import type { LayerHook } from '../src/decoder/state.ts';
import { UserError } from '../src/errors.ts';
import { pickingSame, matrixOf, meanOf } from '../src/tensor/token-matrix.ts';
import { createTrace, traceAxes, watchSteps, type Step, type Trace } from '../src/tensor/trace.ts';
import { describeEachBackend } from './support/backends.ts';
import { full } from './support/full.ts';
import { golden } from './support/golden.ts';
import { runVlm, type RunInput, type RunOptions } from './support/methods.ts';
import { seededRandom } from './support/random.ts';
import { tinyClip } from './support/tiny.ts';

const folder = golden('llava-v5keys'); // 4 vision layers, features of layer 2, P 16; a context of 128

/** One run too many would do; a leak now and then takes more to show. */
const times = full ? 50 : 10;

const tensors = (): number => tf.memory().numTensors;

/** Runs something, well or badly, and expects no more tensors than before. */
async function leavesNothing(run: () => Promise<unknown>, when = 'after'): Promise<void> {
  const before = tensors();
  await run();
  expect(tensors(), `tensors, ${when}`).toBe(before);
}

/** A loaded model and a batch of two, for one test. */
async function withModel(body: (llava: Llava, input: RunInput) => Promise<void>): Promise<void> {
  await leavesNothing(async () => {
    const model = await loadModel(folder);
    const pixels = tf.randomNormal([2, 24, 24, 3], 0, 1, 'float32', 7) as tf.Tensor4D;
    const prompts = [
      { before: [1, 5], after: [6, 7, 8] },
      { before: [1], after: [9, 10, 11, 12] },
    ];
    const input = { pixels, prompts };
    await body(model.llava!, input);
    input.pixels.dispose();
    model.dispose();
  });
}

const vtcCls: RunOptions = {
  method: findMethod('vtc-cls'),
  methodOptions: { layers: 3, ensemble: 'sum' },
  budget: 4,
  positions: 'contiguous',
  maxNewTokens: 4,
};
const none: RunOptions = { ...vtcCls, method: findMethod('none'), methodOptions: {} };

/** A method between the decoder's layers, whose hook is given. */
const hooked = (hook: LayerHook): RunOptions => ({
  ...none,
  method: {
    ...findMethod('none'),
    name: 'stub',
    stages: ['between'],
    prepare: () => ({ between: () => hook }),
  },
});

/** Picks all that there are, and asks for all attention: every tensor of the state changes hands. */
const copyingHook: LayerHook = {
  needsAttention: () => true,
  cut: (_, { roles }) => Promise.resolve(pickingSame([...Array(16).keys()], roles.length, 16)),
};

/** Averages all patches into one token, and so cannot say which patches stayed. */
const merging: Method = {
  ...findMethod('none'),
  name: 'average',
  makesTokens: true,
  prepare: ({ patches: P }) => ({
    choose: ({ F }) => {
      const mean = [meanOf([...Array(P).keys()])];
      return Promise.resolve({
        W: matrixOf(
          Array.from({ length: F.shape[0] }, () => mean),
          P,
        ),
      });
    },
  }),
};

describeEachBackend('memory', () => {
  test(`${times} runs of each kind`, () =>
    withModel(async (llava, input) => {
      const kinds: RunOptions[] = [
        vtcCls,
        { ...vtcCls, positions: 'original' },
        none,
        hooked(copyingHook),
        { ...none, method: merging },
        { ...vtcCls, stopTokens: Array.from({ length: 60 }, (_, id) => id) },
      ];
      for (const options of kinds) {
        await runVlm(llava, input, options); // what the backend keeps from a first run
        await leavesNothing(async () => {
          for (let i = 0; i < times; i++) await runVlm(llava, input, { ...options, maxNewTokens: 2 });
        });
      }
    }));

  test(`${times} traced runs leave the trace, and nothing once it is disposed`, () =>
    withModel(async (llava, input) => {
      for (const options of [vtcCls, none, hooked(copyingHook)]) {
        for (let i = 0; i < times; i++) {
          const before = tensors();
          const trace = createTrace();
          await runVlm(llava, input, { ...options, maxNewTokens: 2, trace });
          expect(tensors()).toBe(before + trace.tensors.size);
          trace.dispose();
          expect(tensors()).toBe(before);
        }
      }
    }));

  /** The defaults, but what a decoder of two layers has. */
  const fitting = ({ defaults }: Method): MethodOptions => {
    const few = Object.entries({ layer: 1, stages: 2 }).filter(([name]) => name in defaults);
    return { ...defaults, ...Object.fromEntries(few) };
  };

  test('every method of the registry', () =>
    withModel(async (llava, input) => {
      const clip = tinyClip(seededRandom(50), llava.config.vision);
      const prompts = input.prompts.map((prompt) => ({ ...prompt, question: [1, 2, 7] }));
      for (const method of methods) {
        const options = { ...vtcCls, method, methodOptions: fitting(method) };
        await leavesNothing(() => runVlm({ ...llava, clip }, { ...input, prompts }, options));
      }
      tf.dispose([clip.vision.weights, clip.text.weights, clip.weights] as unknown as tf.TensorContainer);
    }));

  test(`${times} times generating from text, greedily and sampled`, () =>
    withModel(async ({ decoder }) => {
      await leavesNothing(async () => {
        for (let i = 0; i < times; i++) {
          const prompt = embedText(decoder, [[1, 2, 3 + i]]);
          const sampling = i % 2 ? { temperature: 1, topK: 5, topP: 0.9 } : undefined;
          await generate(decoder, prompt, { maxNewTokens: 3, sampling, seed: i });
          tf.dispose([prompt.hidden, prompt.positions]);
        }
      });
    }));

  test(`${times} times loading a model`, () =>
    leavesNothing(async () => {
      for (let i = 0; i < times; i++)
        (await loadModel(golden(i % 2 ? 'llama-bias' : 'clip-vision'))).dispose();
    }));

  const failures: [name: string, change: (input: RunInput) => Partial<RunOptions>, error: string | RegExp][] =
    [
      ['scores that are NaN', (input) => (breakPixels(input), {}), 'compress.scores[0, 0] is NaN'],
      ['logits that are NaN', (input) => (breakPixels(input), none), 'decoder.logits hold NaN'],
      [
        'more layers in the ensemble than there are',
        () => ({ methodOptions: { layers: 4, ensemble: 'sum' } }),
        '--layers 4: the ensemble ends at layer 2, so it can have 1 to 3 layers',
      ],
      [
        'a budget beyond the patches',
        () => ({ budget: 17 }),
        'vtc-cls: a budget of 17 is not between 1 and 16 visual tokens',
      ],
      [
        'a prompt beyond the context',
        () => ({ maxNewTokens: 120 }),
        "the prompt takes 9 positions and 120 new tokens are asked for, but the decoder's context is 128",
      ],
      [
        'original positions of tokens that have none',
        () => ({ ...none, method: merging, positions: 'original' }),
        '--positions original: average makes new tokens, which have no position',
      ],
      [
        'prompts of different lengths',
        ({ prompts }) => (prompts[0].after.push(5), {}),
        'the prompts of a batch differ in length without their picture: 6, 5',
      ],
      ['a signal that is aborted', () => ({ signal: AbortSignal.abort(new Error('stopped')) }), 'stopped'],
      ['a signal aborted while writing', abortWhileWriting, 'stopped'],
      ['an onToken that throws', () => ({ onToken: () => fail('no token') }), 'no token'],
      ['a hook that throws before the first layer', () => hooked(throwingHook(0, 0)), 'no layer'],
      ['a hook that throws before the second layer', () => hooked(throwingHook(1, 0)), 'no layer'],
      ['a hook that throws while decoding', () => hooked(throwingHook(1, 1)), 'no layer'],
      [
        'a method that throws',
        () => ({
          ...none,
          method: {
            ...merging,
            prepare: () => ({ choose: () => Promise.reject(new Error('no method')) }),
          },
        }),
        'no method',
      ],
    ];

  test.each(failures)('%s', (_, change, error) =>
    withModel(async (llava, input) => {
      const options = { ...vtcCls, ...change(input) };
      for (let i = 0; i < 2; i++) {
        await leavesNothing(() => expect(runVlm(llava, input, options)).rejects.toThrow(error));
      }
    }),
  );

  test('an onStep that throws, at any step', () =>
    withModel(async (llava, input) => {
      for (const options of [vtcCls, { ...none, method: findMethod('tome') }, hooked(copyingHook)]) {
        const steps: Step[] = [];
        await runVlm(llava, input, { ...options, trace: watchSteps((step) => steps.push(step)) });
        expect(steps.length).toBeGreaterThan(5);
        for (const index of steps.keys()) {
          let calls = 0;
          const trace = watchSteps(() => void (calls++ === index && fail('no step')));
          await leavesNothing(
            () => expect(runVlm(llava, input, { ...options, trace })).rejects.toThrow('no step'),
            `thrown at ${steps[index].name}`,
          );
        }
      }
    }));

  /** Names that a run of vtc-cls has. */
  const names = Object.keys(traceAxes).filter((name) => !/cells|keys|attended|matrix.LL|cut/.test(name));
  test.each(names)('a trace that throws at %s', (at) =>
    withModel(async (llava, input) => {
      const trace: Trace = { wants: () => true, record: (name) => void (name === at && fail('no trace')) };
      await leavesNothing(() =>
        expect(runVlm(llava, input, { ...vtcCls, trace })).rejects.toThrow('no trace'),
      );
    }),
  );

  test('a trace used twice', () =>
    withModel(async (llava, input) => {
      const trace = createTrace();
      await runVlm(llava, input, { ...vtcCls, trace });
      await leavesNothing(() =>
        expect(runVlm(llava, input, { ...vtcCls, trace })).rejects.toThrow(
          'the trace already holds vision.pixels',
        ),
      );
      trace.dispose();
    }));

  test('a load that is refused', () =>
    leavesNothing(() => expect(loadModel(golden('nowhere'))).rejects.toThrow(UserError)));
});

function fail(message: string): never {
  throw new Error(message);
}

/** Puts a picture of numbers whose sums are none in the picture's place. */
function breakPixels(input: RunInput): void {
  const { shape } = input.pixels;
  input.pixels.dispose();
  input.pixels = tf.fill(shape, 3e38);
}

function abortWhileWriting(): Partial<RunOptions> {
  const controller = new AbortController();
  return { signal: controller.signal, onToken: () => controller.abort(new Error('stopped')) };
}

/** Throws before a layer, at prefill (past 0) or later. */
function throwingHook(layer: number, minimalPast: number): LayerHook {
  return {
    ...copyingHook,
    limit: (l, _, past) => (l === layer && past >= minimalPast ? fail('no layer') : {}),
  };
}
