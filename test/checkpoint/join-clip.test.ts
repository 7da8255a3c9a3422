import { expect, test } from 'vitest';
import { joinClip } from '../../src/checkpoint/load.ts';
import { UserError } from '../../src/errors.ts';
import { describeEachBackend } from '../support/backends.ts';
import { seededRandom, tidyEachTest } from '../support/random.ts';
import { tinyClip, tinyLlava, tinyVisionConfig } from '../support/tiny.ts';

describeEachBackend('a LLaVA and a CLIP', () => {
  tidyEachTest();

  test('are joined where the vision tower is the same', async () => {
    const random = seededRandom(30);
    const llava = tinyLlava(random);
    const { vision } = llava;
    const copy = {
      ...vision,
      weights: { ...vision.weights, class_embedding: vision.weights.class_embedding!.clone() },
    };
    const clip = { ...tinyClip(random), vision: copy };
    const joined = await joinClip(llava, clip, 'clip');
    expect(joined).toEqual({ ...llava, clip: { ...clip, vision } });
    expect(joined.clip!.vision).toBe(vision); // the copy can go
    expect(llava.clip).toBeUndefined();
  });

  test('are refused where it is another, of the same width or not', async () => {
    const random = seededRandom(31);
    const llava = tinyLlava(random);
    const D = tinyVisionConfig.hidden_size;
    const wide = tinyClip(random, { ...tinyVisionConfig, hidden_size: 2 * D });
    for (const [clip, width] of [
      [tinyClip(random), D],
      [wide, 2 * D],
    ] as const) {
      const why = `clip is not the CLIP of this LLaVA's vision tower: their class embeddings, of ${width} and ${D} values, differ`;
      await expect(joinClip(llava, clip, 'clip')).rejects.toThrow(new UserError(why));
    }
  });
});
