import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { encodePng } from '../../src/node/decode.ts';
import { readMetrics } from '../../src/train/metrics.ts';
import { drawWorld } from '../../src/world/draw.ts';
import { createScene } from '../../src/world/scene.ts';
import { backendsUnderTest } from '../support/backends.ts';
import { expectRefusal, killWhen, listFiles, readTensors, vtcAlone, vtcOkAlone } from '../support/cli.ts';
import { makeFolder } from '../support/pictures.ts';

const hasTensorflow = backendsUnderTest.includes('tensorflow');
if (!hasTensorflow) console.warn('skipping the training smoke test: it needs the tensorflow backend');

describe.skipIf(!hasTensorflow)('vtc train --smoke', () => {
  test(
    'trains both models, which then classify a picture and answer a question',
    { timeout: 600_000 },
    async () => {
      const out = await makeFolder();
      const { code, stderr } = await vtcAlone('train', '--smoke', '--out', out);
      expect({ code, stderr }).toEqual({
        code: 0,
        stderr: expect.stringMatching(/llava 6\/6 .* accuracy /) as string,
      });
      for (const stage of ['clip', 'llava']) {
        const metrics = await readMetrics(path.join(out, `${stage}.metrics.jsonl`));
        expect(metrics.map(({ step }) => step)).toEqual([1, 2, 3, 4, 5, 6]);
        expect(await readFile(path.join(out, `${stage}.svg`), 'utf8')).toContain('on the validation split');
        expect(metrics.every(({ loss }) => Number.isFinite(loss))).toBe(true);
        const told = await readMetadata(path.join(out, stage, 'model.safetensors'));
        expect(told).toMatchObject({ format: 'pt', stage, seed: '0' });
        expect(JSON.parse(told['recipe'])).toHaveProperty('pace.steps', 6);
        expect(told['commit']).toMatch(/^[\da-f]{12}( with changes)?$|^unknown$/);
        expect(told['data_sha256']).toMatch(/^[\da-f]{64}$/);
      }

      const image = path.join(out, 'scene.png');
      await encodePng(drawWorld(createScene('test', 0)), image);
      const clip = path.join(out, 'clip');
      const labels = 'a small red circle upper-left, a blue letter k lower-right';
      expect(await vtcOkAlone('classify', '--model', clip, '--image', image, '--labels', labels)).toMatch(
        /circle/,
      );
      const question = ['--image', image, '--question', 'how many shapes are there ?', '--new-tokens', '2'];
      const answered = await vtcOkAlone('run', '--model', path.join(out, 'llava'), ...question, '--json');
      expect(JSON.parse(answered)).toMatchObject({ answer: expect.any(String) as string });

      // Killed in the second stage and started again, a run ends with the same weights, up to the order of float sums.
      const killed = await makeFolder();
      await killWhen(
        ['train', '--smoke', '--out', killed, '--checkpoint-every', '0'],
        async () => (await readMetrics(path.join(killed, 'llava.metrics.jsonl'))).length >= 2,
      );
      expect(await listFiles(killed)).not.toContain('llava/model.safetensors');
      const resumed = await vtcAlone('train', '--smoke', '--out', killed);
      expect(resumed).toMatchObject({ code: 0, stderr: expect.not.stringMatching(/clip \d/) as string });
      for (const file of ['clip/model.safetensors', 'llava/model.safetensors']) {
        const [whole, joined] = await Promise.all(
          [out, killed].map((folder) => readTensors(path.join(folder, file))),
        );
        expect(joined.names).toEqual(whole.names);
        for (const name of whole.names) {
          const [a, b] = [whole.get(name).values, joined.get(name).values];
          const largest = Math.max(...a.map(Math.abs));
          const worst = Math.max(...a.map((x, i) => Math.abs(x - b[i])));
          expect(worst, `${file}: ${name}`).toBeLessThanOrEqual(2e-3 * largest);
        }
      }

      // Another decoder may look through the tower that this LLaVA brings, with no CLIP beside it.
      const [other, llava] = [await makeFolder(), path.join(out, 'llava')];
      const stage = ['--smoke', '--stage', 'llava', '--seed', '1', '--tower', llava];
      expect(await vtcAlone('train', ...stage, '--out', other)).toMatchObject({ code: 0 });
      const [first, second] = await Promise.all(
        [out, other].map((folder) => readTensors(path.join(folder, 'llava/model.safetensors'))),
      );
      expect(second.names).toEqual(first.names);
      const same = (name: string) => first.get(name).values.every((x, i) => x === second.get(name).values[i]);
      const tower = first.names.filter((name) => name.startsWith('vision_tower.'));
      expect(tower).toContain('vision_tower.vision_model.post_layernorm.weight');
      expect(tower.filter((name) => !same(name))).toEqual([]);
      expect(same('language_model.lm_head.weight')).toBe(false);

      // A second run finds both stages done.
      const again = await vtcAlone('train', '--smoke', '--out', out);
      expect({ code: again.code, stderr: again.stderr }).toEqual({ code: 0, stderr: '' });
    },
  );
});

test('refuses another backend, naming the command that builds the right one', async () => {
  const refused = await vtcAlone('train', '--backend', 'wasm', '--out', await makeFolder());
  expectRefusal(
    refused,
    /^training needs the tensorflow backend, not wasm; npm run setup:tensorflow builds it$/,
  );
});

test('refuses --tower where a tower is trained', async () => {
  expectRefusal(
    await vtcAlone('train', '--tower', 'weights/clip', '--out', await makeFolder()),
    '--tower weights/clip: --stage both trains a tower; it goes with --stage llava',
  );
});

test.skipIf(!hasTensorflow)('refuses a tower that is not of the world', async () => {
  const train = (dir: string, out: string) =>
    vtcAlone('train', '--smoke', '--stage', 'llava', '--tower', dir, '--out', out);
  const out = await makeFolder();
  expectRefusal(
    await train('test/golden/clip-model', out),
    /has a tower of \d+ pixels a side in patches of \d+: the world's pictures need one of 80 pixels in patches of 8$/,
  );
  expect(await listFiles(out)).toEqual([]);
});

/** What a safetensors header says beside its tensors. */
async function readMetadata(file: string): Promise<Record<string, string>> {
  const bytes = await readFile(file);
  const header = bytes.subarray(8, 8 + Number(bytes.readBigUInt64LE()));
  return (JSON.parse(header.toString()) as { __metadata__: Record<string, string> }).__metadata__;
}
