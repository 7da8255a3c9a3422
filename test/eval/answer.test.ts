/** Questions answered in batches, on tiny models made in memory. */
import * as tf from '@tensorflow/tfjs-core';
import { expect, test } from 'vitest';
import { cacheBytes, prefillMacs } from '../../src/cost.ts';
import { openAlbum, type Album } from '../../src/eval/run/album.ts';
import { answerCell, type Exam } from '../../src/eval/run/answer.ts';
import type { Cell, CellRecord } from '../../src/eval/run/cell.ts';
import { joinNeeds } from '../../src/eval/run/needs.ts';
import { evaluate } from '../../src/eval/run/evaluate.ts';
import { flopsWith } from '../../src/eval/page/costs.ts';
import { focusOf } from '../../src/eval/run/focus.ts';
import { takePictures, type PictureSource, type Task } from '../../src/eval/task/task.ts';
import { parseVariants } from '../../src/eval/run/variant.ts';
import { preprocess, type PreprocessConfig } from '../../src/image/preprocess.ts';
import { UserError } from '../../src/errors.ts';
import { prepare, resourcesOf } from '../../src/plan.ts';
import { runVlm } from '../support/methods.ts';
import { describeEachBackend } from '../support/backends.ts';
import { expectNewTensors, seededRandom, tidyEachTest } from '../support/random.ts';
import { tinyClip, tinyLlava } from '../support/tiny.ts';

const P = 16;
const preprocessing: PreprocessConfig = {
  resize: null,
  crop: null,
  rescale: 1 / 64,
  normalize: { mean: [2, 2, 2], std: [1, 1, 1] },
  pad: false,
};

/** Five noisy pictures and 13 questions about them in no order, of three lengths; picture 3 has none. */
function makeExam(seed = 16): Exam {
  const random = seededRandom(seed);
  const pictures = Array.from({ length: 5 }, (_, i) => {
    const data = Uint8Array.from({ length: 9 * 9 * 3 }, () => 256 * random());
    return { id: `p${i}`, read: () => ({ width: 9, height: 9, data }), objects: [[0, 0, 0.5, 0.5]] as const };
  });
  const questions = Array.from({ length: 13 }, (_, i) => {
    const picture = [4, 0, 2, 1][i % 4];
    return { id: `q${i}`, picture, question: `question ${i}`, answer: 'x', type: i % 2 ? 'odd' : 'even' };
  });
  const task: Task = { name: 'noise', scoring: 'exact', pictures, questions };
  const prompts = questions.map((_, i) => ({
    before: i % 5 === 0 ? [1] : [1, 5],
    after: Array.from({ length: 1 + (i % 3) }, () => 3 + Math.floor(12 * random())),
    question: [i % 7, (3 * i + 1) % 7, 7], // for CLIP's text tower, whose texts end with 7
  }));
  const tokenizer = {
    decode: (ids: readonly number[]) => ` ${ids.join('-')} `,
    encodePlain: (text: string) => [text.toLowerCase().charCodeAt(0) % 15],
  };
  const model = { ...tinyLlava(random), clip: tinyClip(random) };
  return { model, stopTokens: [2], tokenizer, task, prompts, maxNewTokens: 3 };
}

const cellOf = (variant: string, budget: number, pictures: PictureSource = 'own'): Cell => ({
  variant: parseVariants(variant)[0],
  budget,
  pictures,
});

const openAll = ({ model, task }: Exam, pictures: PictureSource = 'own', more = {}): Album =>
  openAlbum(model, takePictures(task, pictures), {
    preprocessing,
    needs: { clsAttention: [2, 0, 1] }, // more than most methods want, and in no order
    keepBytes: 2 ** 30,
    ...more,
  });

/** Every question by itself, by the walk that `vtc run` takes. */
async function answerOneByOne(
  { model, task, prompts, stopTokens }: Exam,
  { variant, budget, pictures }: Cell,
) {
  const shown = takePictures(task, pictures);
  const asked = task.questions.map(async ({ picture }, i) => {
    const pixels = tf.tensor4d(preprocess(await shown[picture].read(), preprocessing), [1, 9, 9, 3]);
    const options = { ...variant, budget, maxNewTokens: 3, stopTokens };
    return runVlm(model, { pixels, prompts: [prompts[i]], pictures: [picture] }, options);
  });
  return Promise.all(asked);
}

describeEachBackend('an evaluation', () => {
  tidyEachTest();

  test.each(['own', 'grey', 'wrong'] as const)('reads %s pictures for its preprocessing', async (source) => {
    const exam = makeExam();
    const read = (config?: PreprocessConfig) => Promise.reject(new Error(`for ${JSON.stringify(config)}`));
    const pictures = exam.task.pictures.map((picture) => ({ ...picture, read }));
    const album = openAll({ ...exam, task: { ...exam.task, pictures } }, source);
    await expect(album.look(0, {})).rejects.toThrow(`for ${JSON.stringify(preprocessing)}`);
  });

  test.each([
    ['none', P, 'own'],
    ['none', P, 'grey'],
    ['none', P, 'wrong'],
    ['vtc-cls:layers=1', 5, 'own'],
    ['vtc-cls:layers=2:positions=original', 3, 'own'],
    ['uniform:pattern=raster', 1, 'own'],
    ['fopru', 4, 'own'],
    ['prumerge:neighbours=3', 5, 'own'],
    ['tome', 4, 'own'],
    ['downsample', 4, 'own'],
    ['random-in-depth:layer=0', 4, 'own'],
    ['cdpruner', 4, 'own'],
    ['random', 4, 'own'],
  ] as const)(
    '%s at %i, %s pictures: a batch answers as one question by itself',
    async (name, budget, pictures) => {
      const exam = makeExam();
      const cell = cellOf(name, budget, pictures);
      const alone = await answerOneByOne(exam, cell);
      const plan = prepare(exam.model.config, { ...cell.variant, budget }, resourcesOf(exam.prompts));
      const needs = joinNeeds([{ clsAttention: [2, 0, 1] }, plan.needs]);
      const album = openAll(exam, pictures, { chunkValues: 2 * P * 6, needs });
      expect(album.chunks).toEqual([[0, 1], [2, 3], [4]]);
      const { record: found } = await answerCell(exam, cell, album);
      expect(found.answers).toEqual(alone.map(({ tokens }) => tokens[0].join('-')));

      const mean = (values: number[]) => values.reduce((sum, x) => sum + x, 0) / values.length;
      const { text } = exam.model.config;
      const lengths = alone.map(({ prefillLengths }) => prefillLengths);
      for (const [l, tokens] of found.layerTokens.entries()) {
        expect(tokens).toBeCloseTo(mean(lengths.map((layers) => layers[l])), 9);
      }
      expect(found.prefillFlops).toBeCloseTo(mean(lengths.map((layers) => 2 * prefillMacs(text, layers))), 6);
      expect(found.cacheBytes).toBeCloseTo(mean(lengths.map((layers) => cacheBytes(text, layers))), 6);
      expect(flopsWith(exam.model.config, exam.prompts, budget)).toBeCloseTo(found.prefillFlops, 6);
    },
  );

  test('answers tell pictures apart, so that a mixed-up one would show', async () => {
    const exam = makeExam();
    const answersTo = async (pictures: PictureSource) =>
      (await answerCell(exam, cellOf('none', P, pictures), openAll(exam, pictures))).record.answers;
    const own = await answersTo('own');
    expect(new Set(own).size).toBeGreaterThan(4);
    expect(await answersTo('wrong')).not.toEqual(own);
    expect(await answersTo('grey')).not.toEqual(own);
  });

  test('a method that reads the question chooses anew for each, and is refused without a CLIP or the question', async () => {
    const exam = makeExam();
    const cell = cellOf('cdpruner', 4);
    const choices = (await answerOneByOne(exam, cell)).map(({ kept }) => kept![0].join());
    const ofFirst = exam.task.questions.flatMap(({ picture }, i) => (picture === 0 ? [choices[i]] : []));
    expect(new Set(ofFirst).size).toBeGreaterThan(1);
    const why = "the question is read by CLIP's text tower: name a CLIP of the same vision tower with --clip";
    const withoutClip = { ...exam, model: { ...exam.model, clip: undefined } };
    await expect(answerCell(withoutClip, cell, openAll(withoutClip))).rejects.toThrow(
      new UserError(`cdpruner: ${why}`),
    );
    const mute = { ...exam, prompts: exam.prompts.map((prompt) => ({ ...prompt, question: undefined })) };
    await expect(answerOneByOne(mute, cell)).rejects.toThrow(new UserError(`cdpruner: ${why}`));
  });

  test('pictures seen once or each time anew make the same answers', async () => {
    const exam = makeExam();
    const cell = cellOf('vtc-cls', 4);
    const some = { chunkValues: P * 6 };
    const known = openAll(exam, 'own', some);
    const { record: first } = await answerCell(exam, cell, known);
    let reads = 0;
    for (const picture of exam.task.pictures) {
      const read = picture.read;
      picture.read = () => (reads++, read());
    }
    expect((await answerCell(exam, cell, known)).record.answers).toEqual(first.answers);
    expect(reads).toBe(0);
    const forgotten = openAll(exam, 'own', { ...some, keepBytes: 0 });
    for (const round of [1, 2]) {
      expect((await answerCell(exam, cell, forgotten)).record.answers).toEqual(first.answers);
      expect(reads).toBe(1 + 3 * round); // the first is kept for the clock, and nothing is asked about the fifth
    }
  });

  test('a whole evaluation reads every picture once, counts every question, and leaves no tensor', async () => {
    const exam = makeExam();
    const cells = ['vtc-cls', 'vtc-cls:layers=1', 'uniform'].map((name) => cellOf(name, 4));
    let [reads, counted] = [0, 0];
    for (const picture of exam.task.pictures) {
      const read = picture.read;
      picture.read = () => (reads++, read());
    }
    const told: string[] = [];
    await expectNewTensors(0, 'evaluate', () =>
      evaluate(
        { ...exam, preprocessing },
        {
          cells: [...cells, cellOf('none', P, 'grey')],
          onQuestions: (count) => (counted += count),
          onFocus: (counts) => {
            const { patches, chance } = focusOf(counts);
            told.push(`focus ${patches} ${chance}`);
            return Promise.resolve();
          },
          onCell: (cell, { variant, answers }) => {
            told.push(`${variant} ${answers.length} ${cell.pictures}`);
            return Promise.resolve();
          },
        },
      ),
    );
    expect(told).toEqual([
      'focus 2 0.25',
      'vtc-cls 13 own',
      'vtc-cls:layers=1 13 own',
      'uniform 13 own',
      'none 13 grey',
    ]);
    expect([reads, counted]).toEqual([10, 4 * 13]);
  });

  test('first tokens are held against the uncut model’s, which goes first, and kept patches are counted', async () => {
    const exam = makeExam();
    const questions = exam.task.questions.map((question) => ({ ...question, choices: ['a', 'b', 'c'] }));
    const blank = { id: 'blank', read: () => ({ width: 9, height: 9, data: new Uint8Array(9 * 9 * 3) }) };
    const whole = { ...exam, task: { ...exam.task, questions, blank } };
    const records = new Map<string, CellRecord>();
    const evaluateCells = (cells: Cell[], more: object = {}) =>
      evaluate(
        { ...whole, preprocessing, ...more },
        {
          cells,
          onCell: ({ budget }, record) => {
            const made = { commit: '', backend: '', machine: '' };
            records.set(`${record.variant}@${budget}`, { ...record, ...made });
            return Promise.resolve();
          },
        },
      );
    const random = { ...cellOf('random', 4), variant: parseVariants('random', 1)[0] };
    await evaluateCells([
      cellOf('vtc-cls', P),
      cellOf('vtc-cls', 4),
      random,
      cellOf('fastv:layer=1', 4),
      cellOf('none', P),
    ]);
    const [none, same, cut] = ['none@16', 'vtc-cls@16', 'vtc-cls@4'].map((name) => records.get(name)!);
    expect(none.kl).toBeUndefined();
    expect(Math.max(...same.kl!)).toBeLessThan(1e-5);
    expect(Math.max(...cut.kl!)).toBeGreaterThan(1e-3);
    expect(none.kept!.counts).toEqual(Array(P).fill(13));

    // The same by the walk that `vtc run` takes: what it keeps, and how likely its decoder finds each first token.
    const alone = await answerOneByOne(whole, cellOf('vtc-cls', 4));
    const counts = Array<number>(P).fill(0);
    for (const { kept } of alone) for (const patch of kept![0]) counts[patch]++;
    expect(cut.kept).toMatchObject({ questions: 13, counts });
    for (const { kept, restricted } of records.values()) {
      expect(kept!.sinks).toBeLessThanOrEqual(kept!.counts.reduce((a, b) => a + b, 0));
      expect(restricted.every((choice) => ['a', 'b', 'c'].includes(choice))).toBe(true);
    }
    expect(records.get('fastv:layer=1@4')!.kept!.counts.reduce((a, b) => a + b, 0)).toBe(4 * 13);
    expect(new Set(records.get('random@4')!.kept!.counts).size).toBeGreaterThan(1); // not one mask for all

    await evaluateCells([cellOf('vtc-cls', 5), cellOf('vtc-cls', P)], { fill: 'blank' });
    expect(records.get('vtc-cls@5')!.layerTokens).toEqual(none.layerTokens); // filled up again
    expect(records.get('vtc-cls@16')!.answers).toEqual(none.answers); // nothing to fill
  });

  test('an evaluation that is broken off leaves no tensor either', async () => {
    const exam = makeExam();
    const stop = () => Promise.reject(new Error('enough'));
    const run = () => evaluate({ ...exam, preprocessing }, { cells: [cellOf('vtc-cls', 4)], onCell: stop });
    await expectNewTensors(0, 'a broken evaluation', run, true);
  });
});
