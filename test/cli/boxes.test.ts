/** Boxes on the command line: asked for, given, drawn, evaluated. */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { decodeImage, encodePng } from '../../src/node/decode.ts';
import { shippedModel } from '../../src/node/shipped.ts';
import { askBoxes } from '../../src/world/box-questions.ts';
import { drawWorld } from '../../src/world/draw.ts';
import { createScene } from '../../src/world/scene.ts';
import { expectRefusal, expectUsageError, listFiles, makeFileFolder, vtc, vtcOk } from '../support/cli.ts';

const scene = createScene('test', 0);
const [{ question, box }] = askBoxes(scene);
const middle = (of: readonly number[], axis: number) => (of[axis] + of[axis + 2]) / 2;
const folder = await makeFileFolder();
const image = path.join(folder, 'scene.png');
await encodePng(drawWorld(scene), image);

interface Said {
  answer: string;
  boxes?: number[][];
  kept?: number[];
}

const ask = async (...args: string[]) =>
  JSON.parse(await vtcOk('run', '--backend', 'wasm', '--json', '--image', image, ...args)) as Said;

describe('the shipped system', () => {
  test.each([['perceptiongpt'], ['vtc-cls+perceptiongpt']])(
    '%s says where an object is, and draws it',
    async (method) => {
      const drawn = path.join(folder, `${method}.png`);
      const said = await ask('--method', method, '--keep', '50%', '--question', question, '--draw', drawn);
      expect(said.answer).toMatch(/^<loc> \[(0\.\d{4}, ){3}0\.\d{4}\]$/);
      expect(said.boxes).toHaveLength(1);
      for (const axis of [0, 1])
        expect(Math.abs(middle(said.boxes![0], axis) - middle(box, axis))).toBeLessThan(0.15);
      expect(said.kept?.length).toBe(method === 'perceptiongpt' ? undefined : 50);
      const picture = await decodeImage(drawn);
      expect([picture.width, picture.height]).toEqual([240, 240]);
    },
  );

  test('names what is in a box that is given', async () => {
    const { colour, kind } = scene.objects[0];
    const said = await ask('--method', 'perceptiongpt', '--question', 'what is <loc> ?', '--box', box.join());
    expect(said.answer).toBe(`${colour} ${kind}`);
    expect(said.boxes).toEqual([]);
  });

  test('answers the ordinary questions', async () => {
    const said = await ask('--method', 'perceptiongpt', '--question', 'how many shapes are there ?');
    const shapes = scene.objects.filter(({ kind }) => kind !== 'letter').length;
    expect(said.answer).toBe(['one', 'two', 'three'][shapes - 1]);
  });

  test('is evaluated, alone and behind methods that prune', async () => {
    const out = path.join(folder, 'eval');
    const methods = 'perceptiongpt,vtc-cls+perceptiongpt';
    const flags = [
      '--task',
      'boxes',
      '--count',
      '4',
      '--keep',
      '25%',
      '--methods',
      methods,
      '--backend',
      'wasm',
    ];
    expect(await vtcOk('eval', ...flags, '--out', out)).toContain('### Overlap above one half');
    const { rows } = JSON.parse(await readFile(path.join(out, 'results.json'), 'utf8')) as {
      rows: { series: string; budget: number; pictures: string; half: { n: number } }[];
    };
    const count = [0, 1, 2, 3].flatMap((i) => createScene('test', i).objects).length;
    expect(rows.map(({ series, budget, pictures, half }) => [series, budget, pictures, half.n])).toEqual([
      ['perceptiongpt', 100, 'own', count],
      ['perceptiongpt', 100, 'grey', count],
      ['perceptiongpt', 100, 'wrong', count],
      ['vtc-cls+perceptiongpt', 25, 'own', count],
    ]);
  });
});

describe('refused in one line', () => {
  const run = (...args: string[]) => vtc('run', '--quiet', '--backend', 'wasm', '--image', image, ...args);
  const about = ['--question', 'what is <loc> ?'];

  test.each([
    [
      ['--method', 'perceptiongpt', ...about],
      'the prompt has <loc> once, but --box is given 0 times: one for each',
    ],
    [
      ['--method', 'vtc-cls', '--question', 'x', '--box', '0,0,1,1'],
      '--box: vtc-cls has no word for a box; perceptiongpt has',
    ],
    [
      ['--method', 'vtc-cls', '--question', 'x', '--draw', 'x.png'],
      '--draw x.png: vtc-cls says no boxes; perceptiongpt does',
    ],
    [
      ['--method', 'perceptiongpt', ...about, '--draw', 'x.jpg'],
      '--draw x.jpg: what is written is a PNG, so name it .png',
    ],
  ])('%j', async (args, message) => {
    expectRefusal(await run(...args), message);
  });

  test.each(['0,0,1', '0,0,0.5,2', '0.5,0,0.5,1', '0,1,1,0', '0,,1,1', ''])('--box "%s"', async (given) => {
    expectUsageError(
      await run('--method', 'perceptiongpt', ...about, '--box', given),
      /--box.*It should be x0,y0,x1,y1 from 0 to 1, the upper left corner first/,
    );
  });

  test('a task of boxes for a method that has no word for one', async () => {
    const out = path.join(folder, 'refused');
    expectRefusal(
      await vtc('eval', '--task', 'names', '--methods', 'perceptiongpt,vtc-cls', '--out', out),
      '--methods vtc-cls has no word for a box, which this task asks about: give vtc-cls+perceptiongpt',
    );
    expect(await listFiles(folder)).not.toContain('refused');
  });

  test('a decoder of another size', async () => {
    expectRefusal(
      await run('--model', shippedModel('clip'), '--method', 'perceptiongpt', ...about),
      /is a clip checkpoint; a LLaVA is needed here$/,
    );
  });
});
