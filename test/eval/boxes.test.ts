/** Boxes in the evaluation: what is asked, how it is marked, and what the tables say. */
import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, test } from 'vitest';
import type { Method } from '../../src/compress/method.ts';
import { findMethod, methods } from '../../src/compress/registry.ts';
import { perceptionGpt } from '../../src/compress/trained/perceptiongpt.ts';
import { withWeights } from '../../src/compress/trained/system.ts';
import { writeMarkdown } from '../../src/eval/page/report.ts';
import { summarise } from '../../src/eval/page/summary.ts';
import { openAlbum } from '../../src/eval/run/album.ts';
import { answerCell } from '../../src/eval/run/answer.ts';
import { planCells, type CellRecord } from '../../src/eval/run/cell.ts';
import { namesAll, parseVariants } from '../../src/eval/run/variant.ts';
import { digestQuestions } from '../../src/eval/shards/store.ts';
import { markers } from '../../src/eval/task/scoring.ts';
import { takePictures } from '../../src/eval/task/task.ts';
import { createBoxTask } from '../../src/eval/task/world-task.ts';
import { preprocess, type PreprocessConfig } from '../../src/image/preprocess.ts';
import { readSpoken } from '../../src/text/spoken-numbers.ts';
import { describeEachBackend } from '../support/backends.ts';
import { runVlm } from '../support/methods.ts';
import { seededRandom, tidyEachTest } from '../support/random.ts';
import { randomWeights, tinyLlava } from '../support/tiny.ts';

const model = tinyLlava(seededRandom(1));

/** The tiny model's system, and how it is found by its name. */
function makeSystem() {
  const weights = randomWeights(seededRandom(2), perceptionGpt.table(model.config));
  const method = withWeights(perceptionGpt, { weights, model: model.config }) as unknown as Method;
  const own = new Map([['perceptiongpt', method]]);
  return { method, find: (name: string) => findMethod(name, own) };
}

describe('a task', () => {
  test('of boxes asks where each object is, and is marked by overlap', () => {
    const { questions, scoring, pictures, name } = createBoxTask('boxes', 'test', 20);
    expect(name).toBe('boxes of the world, test split, 20 scenes');
    expect(pictures).toHaveLength(20);
    expect(questions).toHaveLength(pictures.flatMap(({ objects }) => objects!).length);
    for (const { answer, question, picture, numbers } of questions) {
      expect(question).toMatch(/^locate the /);
      expect(numbers).toBeUndefined();
      expect(pictures[picture].objects).toContainEqual(readSpoken(answer));
      expect(markers[scoring](answer, { answer })).toBe(1);
    }
  });

  test('of names gives the box and asks what is in it', () => {
    const { questions, scoring, pictures } = createBoxTask('names', 'test', 20);
    expect(scoring).toBe('exact');
    for (const { answer, question, picture, numbers } of questions) {
      expect(question).toBe('what is <loc> ?');
      expect(answer).toMatch(/^[a-z]+ [a-z]+$/);
      expect(pictures[picture].objects).toContainEqual(numbers![0]);
    }
    const task = createBoxTask('names', 'test', 2);
    const other = { ...task, questions: task.questions.map((q) => ({ ...q, numbers: [[0, 0, 1, 1]] })) };
    expect(digestQuestions(task)).not.toBe(digestQuestions(other));
  });

  test('half of a box is marked by a half, no box or a box of other length by nothing', () => {
    const truth = { answer: '<loc> [0, 0, 0.5, 0.5]' };
    expect(markers.boxes('<loc> [0, 0, 0.5, 0.25]', truth)).toBeCloseTo(0.5, 12);
    expect(markers.boxes('<loc> [0.6, 0.6, 0.9, 0.9]', truth)).toBe(0);
    expect(markers.boxes('<loc> [0, 0, 0.5]', truth)).toBe(0);
    expect(markers.boxes('upper-left', truth)).toBe(0);
  });
});

describe('variants', () => {
  const { find } = makeSystem();

  test('all+perceptiongpt is each method with it, and it alone', () => {
    const names = parseVariants('all+perceptiongpt', 1, find).map(({ method }) => method.name);
    const each = methods.map(({ name }) => (name === 'none' ? 'perceptiongpt' : `${name}+perceptiongpt`));
    expect(names).toEqual(each);
    expect(namesAll('all+perceptiongpt')).toBe(true);
    expect(namesAll('vtc-cls+perceptiongpt')).toBe(false);
  });

  test('what prunes nothing is asked once, and with other pictures', () => {
    const cells = planCells(parseVariants('perceptiongpt,vtc-cls+perceptiongpt', 1, find), [8, 4], 16);
    expect(cells.map(({ variant, budget, pictures }) => `${variant.name} ${budget} ${pictures}`)).toEqual([
      'perceptiongpt 16 own',
      'perceptiongpt 16 grey',
      'perceptiongpt 16 wrong',
      'vtc-cls+perceptiongpt 8 own',
      'vtc-cls+perceptiongpt 4 own',
    ]);
  });
});

test('the tables say how much boxes overlap, and how many by more than one half', () => {
  const { find } = makeSystem();
  const task = createBoxTask('boxes', 'test', 10);
  const [cell] = planCells(parseVariants('perceptiongpt', 1, find), [16], 16);
  const answers = task.questions.map(({ answer }, i) => (i % 4 === 0 ? 'red' : answer));
  const record = {
    ...{ variant: 'perceptiongpt', budget: 16, pictures: 'own', restricted: answers.map(() => ''), answers },
    ...{ layerTokens: [20], prefillFlops: 1, cacheBytes: 1, prompts: [], seen: 1, seconds: 1 },
    ...{ milliseconds: { see: 1, prefill: 1, decode: 1 }, commit: '', backend: '', machine: '' },
  } satisfies CellRecord;
  const [row] = summarise(task, [{ cell, record }]);
  const share = answers.filter((answer) => answer !== 'red').length / answers.length;
  expect(row.overall.accuracy).toBeCloseTo(share, 12);
  expect(row.half!.accuracy).toBeCloseTo(share, 12);
  const page = writeMarkdown({
    ...{
      task: task.name,
      questions: answers.length,
      pictures: 10,
      models: ['m'],
      fill: 'none',
      comparisons: {},
    },
    ...{ patches: 16, command: '', commits: [], backends: [], machines: [], date: '', textTokens: 4 },
    ...{ flopsAtBudget: [], rows: [row] },
  });
  expect(page).toContain('Accuracy is the overlap of the boxes');
  expect(page).toContain('### Overlap above one half');
  const plain = summarise({ ...task, scoring: 'exact' }, [{ cell, record }])[0];
  expect(plain.half).toBeUndefined();
});

describeEachBackend('boxes in batches', () => {
  tidyEachTest();

  test('are those of each question by itself', async () => {
    const { method } = makeSystem();
    const V = model.config.text.vocab_size;
    const random = seededRandom(3);
    const preprocessing: PreprocessConfig = {
      resize: null,
      crop: null,
      rescale: 1 / 64,
      normalize: null,
      pad: false,
    };
    const pictures = [0, 1, 2].map((i) => {
      const data = Uint8Array.from({ length: 9 * 9 * 3 }, () => 256 * random());
      return { id: `p${i}`, read: () => ({ width: 9, height: 9, data }) };
    });
    const questions = [2, 0, 1, 0].map((picture, i) => ({
      ...{ id: `q${i}`, picture, question: '', answer: '', type: 'all' },
      numbers: i % 2 ? [[random(), random(), 1, 1]] : undefined,
    }));
    const prompts = questions.map(({ numbers }, i) => ({
      before: [1, 5],
      after: [numbers ? V : 3, 4 + i],
      numbers,
    }));
    const decode = (ids: readonly number[]) => ids.map((id) => (id === V ? '<loc>' : String(id))).join(' ');
    const exam = {
      ...{ model, stopTokens: [], maxNewTokens: 4, prompts },
      task: { name: '', scoring: 'boxes' as const, pictures, questions },
      tokenizer: { decode, encodePlain: () => [0] },
    };
    const options = { method, methodOptions: {}, budget: 16 };
    const variant = { ...options, positions: 'contiguous' as const, name: 'x', series: 'x' };
    const album = openAlbum(model, takePictures(exam.task, 'own'), {
      preprocessing,
      needs: {},
      keepBytes: 0,
    });
    const { record } = await answerCell(exam, { variant, budget: 16, pictures: 'own' }, album);
    album.dispose();
    let said = 0;
    for (const [i, { picture }] of questions.entries()) {
      const pixels = tf.tensor4d(preprocess(pictures[picture].read(), preprocessing), [1, 9, 9, 3]);
      const alone = await runVlm(model, { pixels, prompts: [prompts[i]] }, { ...options, maxNewTokens: 4 });
      expect(record.answers[i].replaceAll(/ \[[^\]]*\]/g, '')).toBe(decode(alone.tokens[0]));
      const boxes = [...record.answers[i].matchAll(/\[[^\]]*\]/g)].map(([text]) => readSpoken(text)!);
      expect(boxes).toHaveLength(alone.numbers![0].length);
      said += boxes.length;
      for (const [k, box] of boxes.entries()) {
        box.forEach((x, c) => expect(x).toBeCloseTo(alone.numbers![0][k][c], 3));
      }
    }
    expect(said).toBeGreaterThan(0);
  });
});
