/** `vtc run` on several pictures, and `vtc clips`. */
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { encodePng } from '../../src/node/decode.ts';
import { shippedModel } from '../../src/node/shipped.ts';
import { createClip, frameScenes } from '../../src/world/clip.ts';
import { drawWorld } from '../../src/world/draw.ts';
import { expectRefusal, expectUsageError, makeFileFolder, vtc, vtcOk } from '../support/cli.ts';

const folder = await makeFileFolder();
const frames = frameScenes(createClip('test', 0, 4)).map((_, i) => path.join(folder, `${i}.png`));
for (const [i, scene] of frameScenes(createClip('test', 0, 4)).entries()) {
  await encodePng(drawWorld(scene), frames[i]);
}
const ask = ['--question', 'how many shapes are there ?', '--new-tokens', '2', '--backend', 'wasm'];
interface Json {
  image: unknown;
  kept: number[][];
  promptTokens: number;
  budget: number;
  layerTokens: number[];
}
const run = async (...args: string[]) => JSON.parse(await vtcOk('run', ...args, ...ask, '--json')) as Json;

describe.concurrent('run with several pictures', () => {
  test('each keeps its share, whether named one by one or as a folder', async () => {
    const [named, inFolder] = await Promise.all([
      run('--image', ...frames, '--keep', '10%'),
      run('--image', folder, '--keep', '10%'),
    ]);
    expect(named.image).toEqual(frames);
    expect(named.kept.map((row) => row.length)).toEqual([10, 10, 10, 10]);
    expect(inFolder).toMatchObject({ kept: named.kept, promptTokens: named.promptTokens, image: folder });
    const one = await run('--image', frames[2], '--keep', '10%');
    expect(one.kept).toEqual(named.kept[2]);
    expect(named.promptTokens - one.promptTokens).toBe(30);
  });

  test('or all have one share together', async () => {
    const { kept, budget, promptTokens } = await run(
      '--image',
      ...frames,
      '--frames',
      'all',
      '--keep',
      '10%',
    );
    const one = await run('--image', frames[0], '--keep', '40');
    expect([kept.length, budget, promptTokens]).toEqual([40, 40, one.promptTokens]); // one picture of 400 patches
  });

  test('between the layers all of them are there', async () => {
    const { layerTokens } = await run('--image', ...frames.slice(0, 2), '--method', 'fastv', '--keep', '10%');
    expect(layerTokens[1] - layerTokens[2]).toBe(2 * 90);
  });

  test('is told in words', async () => {
    const told = await vtcOk('run', '--image', ...frames.slice(0, 2), ...ask, '--keep', '3');
    expect(told).toMatch(
      /^kept 3 of 100 patches of frame 0: \d+ \d+ \d+\nkept 3 of 100 patches of frame 1: /m,
    );
  });

  test('refuses in one sentence', async () => {
    const refuse = async (message: string | RegExp, ...args: string[]) =>
      expectRefusal(await vtc('run', '--image', ...frames, ...args, ...ask, '--quiet'), message);
    const heat = path.join(folder, 'heat.png');
    await refuse(`--heatmap ${heat} shows one picture, and --image names 4`, '--heatmap', heat);
    await refuse('--positions original is for one picture, and here are 4', '--positions', 'original');
    await refuse(/^the prompt takes \d+ positions and 2 new tokens are asked for/, '--method', 'none');
    const { code, stderr } = await vtc(
      'run',
      '--image',
      ...frames,
      ...ask,
      '--method',
      'videollm-mod',
      '--quiet',
    );
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr: `error: videollm-mod was trained with ${shippedModel('video')}, and this model has another decoder: give --model ${shippedModel('video')}\n`,
    });
    await refuse(
      '--frames all: tome acts in the tower, which sees one at a time',
      ...['--method', 'tome', '--frames', 'all'],
    );
    expectUsageError(
      await vtc('run', '--image', frames[0], '--frames', 'some', ...ask),
      /Allowed choices are each, all/,
    );
  });
});

describe.concurrent('clips', () => {
  test('asks any LLaVA, of all frames or the middle one', async () => {
    const clips = (...args: string[]) =>
      vtcOk('clips', '--model', shippedModel(), '--methods', 'vtc-cls', '--count', '2', '--keep', '5%', '--backend', 'wasm', ...args); // prettier-ignore
    const { results, ...told } = JSON.parse(await clips('--json')) as {
      results: { method: string; all: { n: number }; layerTokens: number[] }[];
    };
    expect(told).toMatchObject({ split: 'test', clips: 2, view: 'frames', budget: 5 });
    const [first, second] = [0, 1].map((index) => createClip('test', index));
    expect(results[0].all.n).toBeGreaterThanOrEqual(8);
    const middle = JSON.parse(await clips('--json', '--view', 'middle')) as typeof told & {
      results: typeof results;
    };
    const mean = (5 * (first.frames + second.frames - 2)) / 2;
    expect(results[0].layerTokens[0] - middle.results[0].layerTokens[0]).toBeCloseTo(mean, -1);
    expect(await clips()).toMatch(/^2 clips of the test split, \d+ questions, frames, /);
  });
});
