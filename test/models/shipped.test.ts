/**
 * The models in weights/ against transformers: the same answers to 200 questions of the test split, the same logits, with
 * whole pictures and with the 36 patches that VTC-CLS keeps. `npm test` asks the first 50.
 */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { expect, test } from 'vitest';
import { joinClip } from '../../src/checkpoint/load.ts';
import { loadModel, readPreprocessConfig, readTokenizer } from '../../src/node/checkpoint.ts';
import { cdPruner } from '../../src/compress/cdpruner.ts';
import { none } from '../../src/compress/none.ts';
import { vtcCls } from '../../src/compress/vtc-cls.ts';
import { decode, prefill } from '../../src/decoder/generate.ts';
import { spliceImage } from '../../src/decoder/splice.ts';
import { readAsker } from '../../src/node/inputs.ts';
import { project } from '../../src/projector.ts';
import { drawPixels } from '../../src/train/pictures.ts';
import { contrast, embedPictures, embedTexts } from '../../src/vision/contrastive.ts';
import { prepare, resourcesOf } from '../../src/plan.ts';
import { choose, see } from '../../src/story.ts';
import { free, scope } from '../../src/tensor/scope.ts';
import { patchCount } from '../../src/vision/config.ts';
import { askScene } from '../../src/world/questions.ts';
import { createScene } from '../../src/world/scene.ts';
import { describeEachBackend } from '../support/backends.ts';
import { full } from '../support/full.ts';
import { golden, readExpected, readRelativeError } from '../support/golden.ts';

interface RecordedModel {
  folder: string;
  tokens: number;
  correct: number;
  answers: { id: string; question: string; answer: string }[];
}
interface Recorded {
  labels: string[];
  models: RecordedModel[];
  cdpruner: { question: string; image: string; kept: number[] }[];
}
const recorded = JSON.parse(readFileSync(golden('shipped.json'), 'utf8')) as Recorded;
const weights = (name: string) => path.join(import.meta.dirname, '..', '..', 'weights', name);

describeEachBackend('the shipped models', () => {
  test.each(recorded.models.map((model) => [model.folder, model.tokens, model] as const))(
    '%s with %i tokens answers as in transformers, word for word, with its logits',
    async (folder, tokens, { answers: all, correct }) => {
      const expected = full ? all : all.slice(0, 50);
      const dir = weights(folder);
      const model = await loadModel(dir);
      const llava = model.llava!;
      const { ask, tokenizer } = await readAsker(dir, llava.config);
      const preprocessing = await readPreprocessConfig(dir, llava.config.vision.image_size);
      const whole = tokens === patchCount(llava.config.vision);
      const method = whole ? none : vtcCls;
      const plan = prepare(llava.config, { method, methodOptions: { ...method.defaults }, budget: tokens });
      const [rows, answers, right]: [tf.Tensor[], string[], boolean[]] = [[], [], []];
      for (let index = 0; answers.length < expected.length; index++) {
        using own = scope();
        const scene = createScene('test', index);
        const seen = own(await see(llava, own(drawPixels([scene], preprocessing)), plan));
        const visual = own(project(llava.projector, own(await choose(llava, seen, plan)).tokens));
        for (const { id, question, answer } of askScene(scene).slice(0, expected.length - answers.length)) {
          expect([id, question]).toEqual([expected[answers.length].id, expected[answers.length].question]);
          const session = own(
            await prefill(llava.decoder, own(spliceImage(llava.decoder, [ask(question)], visual)), {
              maxNewTokens: 4,
            }),
          );
          rows.push(tf.reshape(session.logits, [-1]));
          const options = { maxNewTokens: 4, stopTokens: model.stopTokens };
          const [said] = await decode(llava.decoder, session, options);
          answers.push(tokenizer.decode(said).trim());
          right.push(answers.at(-1) === answer);
        }
      }
      expect(answers).toEqual(expected.map(({ answer }) => answer));
      if (full) expect(right.filter(Boolean)).toHaveLength(correct);
      const file = await readExpected(golden('shipped.safetensors'));
      const recordedLogits = await file.float(`${folder}.${tokens}.logits`); // [all questions, V]
      const logits = tf.slice(recordedLogits, 0, rows.length);
      const found = tf.stack(rows);
      expect(await readRelativeError(found, logits)).toBeLessThan(1e-3);
      tf.dispose([rows, found, logits, recordedLogits]);
      await file.close();
      model.dispose();
    },
  );

  test('CDPruner keeps for 16 questions what PyTorch keeps', async () => {
    const dir = weights('llava');
    const [model, clip] = [await loadModel(dir), await loadModel(weights('clip'))];
    const llava = await joinClip(model.llava!, clip.clip!, 'weights/clip');
    const { ask } = await readAsker(dir, llava.config, { clip: weights('clip') });
    const preprocessing = await readPreprocessConfig(dir, llava.config.vision.image_size);
    expect(recorded.cdpruner).toHaveLength(32);
    for (const { question, image, kept } of recorded.cdpruner) {
      const pixels = drawPixels([createScene('test', Number(/\d+/.exec(image)![0]))], preprocessing);
      const chosenMethod = { method: cdPruner, methodOptions: {}, budget: kept.length };
      const plan = prepare(llava.config, chosenMethod, resourcesOf([ask(question)]));
      const seen = await see(llava, pixels, plan);
      const { tokens, kept: chosen } = await choose(llava, seen, plan);
      expect(chosen, question).toEqual([kept]);
      tf.dispose([pixels, tokens]);
      free(seen);
    }
    model.dispose();
    clip.dispose();
  });

  test('find pictures and captions as alike as transformers does', async () => {
    const dir = weights('clip');
    const model = await loadModel(dir);
    const clip = model.clip!;
    const tokenizer = await readTokenizer(dir, null);
    const preprocessing = await readPreprocessConfig(dir, clip.vision.config.image_size);
    const expected = await readExpected(golden('shipped.safetensors'));
    const scores = await expected.float('clip.logits_per_image'); // [pictures, labels]
    const scenes = Array.from({ length: scores.shape[0] }, (_, index) => createScene('test', index));
    const found = tf.tidy(() => {
      const texts = embedTexts(
        clip,
        recorded.labels.map((label) => tokenizer.encode(label)),
      );
      return contrast(clip, embedPictures(clip, drawPixels(scenes, preprocessing)), texts);
    });
    expect(await readRelativeError(found, scores)).toBeLessThan(1e-3);
    tf.dispose([found, scores]);
    await expected.close();
    model.dispose();
  });
});
