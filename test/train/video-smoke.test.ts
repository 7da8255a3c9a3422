import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { encodePng } from '../../src/node/decode.ts';
import { createClip, frameScenes } from '../../src/world/clip.ts';
import { drawWorld } from '../../src/world/draw.ts';
import { backendsUnderTest } from '../support/backends.ts';
import { expectRefusal, readTensors, vtcAlone, vtcOkAlone } from '../support/cli.ts';
import { fullOrCI } from '../support/full.ts';
import { makeFolder } from '../support/pictures.ts';

const hasTensorflow = backendsUnderTest.includes('tensorflow');
if (!hasTensorflow)
  console.warn('skipping the training smoke test of clips: it needs the tensorflow backend');

const train = (system: string, out: string) => ['train', '--system', system, '--smoke', '--out', out];

async function trainOk(system: string, out: string): Promise<void> {
  const { code, stderr } = await vtcAlone(...train(system, out));
  expect({ code, stderr }).toEqual({ code: 0, stderr: expect.stringMatching(/6\/6 {2}accuracy /) as string });
}

if (!fullOrCI) console.warn('skipping the training smoke test of clips: npm run test:full and CI do it');

describe.skipIf(!hasTensorflow || !fullOrCI)('vtc train --smoke of video models', () => {
  test('trains a video LLaVA, then VideoLLM-MoD from it, which answers', async () => {
    const out = await makeFolder();
    expectRefusal(
      await vtcAlone(...train('videollm-mod', out)),
      `${path.join(out, 'video-full')} has no model to start from: vtc train --system video-full makes it`,
    );
    await trainOk('video-full', out);
    await trainOk('videollm-mod', out);
    const scorers = await readTensors(path.join(out, 'videollm-mod', 'model.safetensors'));
    expect(scorers.names.sort()).toEqual([0, 2].flatMap((l) => [`scorers.${l}.bias`, `scorers.${l}.weight`]));

    const clip = createClip('test', 0, 4);
    const frames = frameScenes(clip).map((_, i) => path.join(out, `${i}.png`));
    for (const [i, scene] of frameScenes(clip).entries()) await encodePng(drawWorld(scene), frames[i]);
    const asked = ['--image', ...frames, '--question', 'what color moves ?', '--new-tokens', '2', '--json'];
    const model = ['--model', path.join(out, 'video'), '--weights', out, '--method', 'videollm-mod'];
    const answered = JSON.parse(await vtcOkAlone('run', ...asked, ...model, '--keep', '25%')) as {
      answer: string;
      image: string[];
      promptTokens: number;
      layerTokens: number[];
    };
    expect(answered.image).toEqual(frames);
    const T = answered.promptTokens;
    const text = T - 4 * 25;
    expect(answered.layerTokens).toEqual([text + 4 * 7, T, text + 4 * 7, T]); // ⌈25·25/100⌉ of each frame
  });
});
