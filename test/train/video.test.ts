/** The training of video models: gradients, losses, what a step is drawn from, and what a batch tells. */
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, test } from 'vitest';
import { startBackend } from '../../src/backend/start.ts';
import { videoLlmMod, withheldOf } from '../../src/compress/trained/videollm-mod.ts';
import { putBack } from '../../src/decoder/pass.ts';
import { registerGradients } from '../../src/train/gradients.ts';
import { crossEntropy } from '../../src/train/losses.ts';
import { packQuestions } from '../../src/train/pack.ts';
import { answerClips } from '../../src/train/video-decoder.ts';
import { videoLoss } from '../../src/train/video-stage.ts';
import { createRandom } from '../../src/random.ts';
import { createClip } from '../../src/world/clip.ts';
import { tellFrames, thingThat } from '../../src/world/clip-questions.ts';
import { backendsUnderTest } from '../support/backends.ts';
import { checkGradients } from '../support/gradients.ts';
import { draw, expectNear, seededRandom, tidyEachTest, type Random } from '../support/random.ts';
import { randomWeights, tinyLlama, tinyLlava } from '../support/tiny.ts';

const backends = ['cpu', ...backendsUnderTest.filter((name) => name === 'tensorflow')];
const some = (random: Random, ...shape: number[]): tf.Tensor => tf.tensor(draw(random, shape), shape);

describe.each(backends)('gradients equal finite differences on %s', (backend) => {
  beforeAll(async () => {
    await startBackend(backend);
    registerGradients();
  });
  tidyEachTest();
  const random = seededRandom(7);

  test('of a gate, and of those that pass by', () => {
    const places = [[0, 2, 3], [0, 1, 3]]; // prettier-ignore
    const frames = places.map(() => [undefined, 0, 0, 0]);
    const inputs = { x: some(random, 2, 4, 5), y: some(random, 2, 3, 5), scores: some(random, 2, 4) };
    checkGradients(random, inputs, ({ x, y, scores }) =>
      putBack(x as tf.Tensor3D, y as tf.Tensor3D, {
        places,
        withheld: withheldOf(scores as tf.Tensor2D, places, frames),
      }),
    );
  });

  test('of a whole model whose scored layers let half of each frame through', () => {
    const llama = tinyLlama(random);
    const { config } = tinyLlava(random);
    const { scorers } = randomWeights(random, videoLlmMod.table({ ...config, text: llama.config }));
    const visual = some(random, 2, 8, llama.config.hidden_size);
    const packed = packQuestions([[{ ask: [5, 6], answer: [7, 2] }], [{ ask: [8, 1], answer: [3, 2] }]], 9, 0); // prettier-ignore
    const inputs = { visual, scorers, layers: llama.weights.layers };
    const say = ({ visual, scorers, layers }: typeof inputs) => {
      const weights = { ...llama.weights, layers };
      const depths = { scorers, tokens: 4, budget: 2, patches: 4 };
      return answerClips({ ...llama, weights }, visual as tf.Tensor3D, { before: [1], packed }, depths);
    };
    checkGradients(random, inputs, (changed) => {
      const { answers, cells } = say(changed);
      return tf.concat([answers, cells], 0);
    });
  });
});

describe('what a batch tells', () => {
  beforeAll(async () => {
    await startBackend('cpu');
  });
  tidyEachTest();

  test('counts alike where something is told and where nothing is', () => {
    const random = seededRandom(2);
    const answers = tf.tensor2d(draw(random, [2, 5]));
    const cells = tf.tensor2d(draw(random, [4, 5]));
    const packed = packQuestions([[{ ask: [1], answer: [3, 2] }]], 4, 0);
    const tellings = { targets: [2, 4, 2, 2], tells: [false, true, false, false] };
    const of = (rows: number[], targets: number[]) =>
      crossEntropy(tf.gather(cells, rows), targets).arraySync();
    const expected =
      crossEntropy(answers, [3, 2]).arraySync() + 0.5 * (of([1], [4]) + of([0, 2, 3], [2, 2, 2]));
    expectNear(videoLoss({ answers, cells }, { packed, tellings }, 0.5), expected, 'loss');
    const silent = { targets: [2, 2, 2, 2], tells: [false, false, false, false] };
    expectNear(
      videoLoss({ answers, cells }, { packed, tellings: silent }, 0.5),
      crossEntropy(answers, [3, 2]).arraySync() + 0.5 * of([0, 1, 2, 3], [2, 2, 2, 2]),
      'loss of a clip in which nothing happens',
    );
  });

  test('is told from the moment that it happened on, by the cells where it did', () => {
    for (let index = 0; index < 60; index++) {
      const clip = createClip('train', index);
      const told = tellFrames(clip, 5, createRandom(index));
      const cellsOf = (box: readonly number[]) =>
        [...Array(25).keys()].filter((cell) => {
          const [x, y] = [(cell % 5) * 16, Math.floor(cell / 5) * 16];
          return box[0] < x + 16 && x < box[2] && box[1] < y + 16 && y < box[3];
        });
      expect(told[0].every((word) => word === undefined)).toBe(true);
      for (let frame = 1; frame < clip.frames; frame++) {
        const expected = new Map<number, string[]>();
        const put = (box: readonly number[], words: string[]) => {
          for (const cell of cellsOf(box)) expected.set(cell, [...(expected.get(cell) ?? []), ...words]);
        };
        const mover = thingThat(clip, 'moves')!.boxes;
        const steps = mover.slice(1, frame + 1).filter((box, i) => box![0] !== mover[i]![0] || box![1] !== mover[i]![1]).length; // prettier-ignore
        if (steps > 0) put(mover[frame]!, [clip.direction, ['one', 'two', 'three'][steps - 1]]);
        const came = thingThat(clip, 'appears')?.boxes[frame];
        if (came) put(came, ['appears']);
        const gone = thingThat(clip, 'vanishes');
        if (gone && !gone.boxes[frame]) put(gone.boxes[0]!, [gone.look.colour, gone.look.kind]);
        for (const [cell, word] of told[frame].entries()) {
          if (expected.has(cell)) expect(expected.get(cell)).toContain(word);
          else expect(word).toBeUndefined();
        }
      }
    }
  });
});
