/** The models in weights/ against transformers: the same answers to 200 questions of the test split, the same logits. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { expect, test } from 'vitest';
import { joinClip } from '../../src/checkpoint/load.ts';
import { loadModel, readPreprocessConfig, readTokenizer } from '../../src/node/checkpoint.ts';
import { cdPruner } from '../../src/compress/cdpruner.ts';
import { none } from '../../src/compress/none.ts';
import { decode, prefill } from '../../src/decoder/generate.ts';
import { spliceImage } from '../../src/decoder/splice.ts';
import { readAsker } from '../../src/node/inputs.ts';
import { project } from '../../src/projector.ts';
import { drawPixels } from '../../src/train/pictures.ts';
import { contrast, embedPictures, embedTexts } from '../../src/vision/contrastive.ts';
import { prepare, resourcesOf } from '../../src/plan.ts';
import { choose, see } from '../../src/story.ts';
import { free } from '../../src/tensor/scope.ts';
import { patchCount } from '../../src/vision/config.ts';
import { askScene } from '../../src/world/questions.ts';
import { createScene } from '../../src/world/scene.ts';
import { describeEachBackend } from '../support/backends.ts';
import { golden, readExpected, readRelativeError } from '../support/golden.ts';

interface Recorded {
  correct: number;
  labels: string[];
  answers: { id: string; question: string; answer: string }[];
  cdpruner: { question: string; image: string; kept: number[] }[];
}
const recorded = JSON.parse(readFileSync(golden('shipped.json'), 'utf8')) as Recorded;
const weights = (name: string) => path.join(import.meta.dirname, '..', '..', 'weights', name);

describeEachBackend('the shipped models', () => {
  test('answer as in transformers, word for word, with its logits', async () => {
    const dir = weights('llava');
    const model = await loadModel(dir);
    const llava = model.llava!;
    const { ask, tokenizer } = await readAsker(dir, llava.config);
    const preprocessing = await readPreprocessConfig(dir, llava.config.vision.image_size);
    const expected = await readExpected(golden('shipped.safetensors'));
    const logits = await expected.float('llava.logits'); // [questions, V]
    const [rows, answers, right]: [tf.Tensor[], string[], boolean[]] = [[], [], []];
    for (let index = 0; answers.length < recorded.answers.length; index++) {
      const scene = createScene('test', index);
      const pixels = drawPixels([scene], preprocessing);
      const budget = patchCount(llava.config.vision);
      const plan = prepare(llava.config, { method: none, methodOptions: {}, budget });
      const seen = await see(llava, pixels, plan);
      const picture = await choose(llava, seen, plan);
      const visual = project(llava.projector, picture.tokens);
      for (const { id, question, answer } of askScene(scene).slice(
        0,
        recorded.answers.length - answers.length,
      )) {
        expect([id, question]).toEqual([
          recorded.answers[answers.length].id,
          recorded.answers[answers.length].question,
        ]);
        const prompt = spliceImage(llava.decoder, [ask(question)], visual);
        const session = await prefill(llava.decoder, prompt, { maxNewTokens: 4 });
        rows.push(tf.reshape(session.logits, [-1]));
        const [tokens] = await decode(llava.decoder, session, {
          maxNewTokens: 4,
          stopTokens: model.stopTokens,
        });
        answers.push(tokenizer.decode(tokens).trim());
        right.push(answers.at(-1) === answer);
        tf.dispose([prompt.hidden, prompt.positions]);
        session.dispose();
      }
      tf.dispose([pixels, visual, picture.tokens]);
      free(seen);
    }
    expect(answers).toEqual(recorded.answers.map(({ answer }) => answer));
    expect(right.filter(Boolean)).toHaveLength(recorded.correct);
    const all = tf.stack(rows);
    expect(await readRelativeError(all, logits)).toBeLessThan(1e-3);
    tf.dispose([rows, all, logits]);
    await expected.close();
    model.dispose();
  });

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
