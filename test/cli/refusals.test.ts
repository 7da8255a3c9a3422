/** What a user may get wrong: one sentence that names it, exit code 1, nothing left behind. */
import { copyFile, cp, mkdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { hasNative } from '../../src/backend/native.ts';
import { writeSafetensors } from '../../src/node/safetensors.ts';
import type { TensorToWrite } from '../../src/io/safetensors.ts';
import {
  expectRefusal,
  expectUsageError,
  listFiles,
  makeDemoFiles,
  makeFileFolder,
  makeSubfolder,
  vtc,
  vtcAlone,
} from '../support/cli.ts';
import { crc32 } from '../support/crc32.ts';
import { golden } from '../support/golden.ts';

const folder = await makeFileFolder();
const { model, scene } = await makeDemoFiles(folder);
const at = (name: string) => path.join(folder, name);

/** The model without its weights: whatever is refused with it is refused before they are read. */
const bare = at('bare');
await mkdir(bare);
for (const name of ['config.json', 'tokenizer.json']) {
  await copyFile(path.join(model, name), path.join(bare, name));
}
/** A LLaVA of 16 patches whose image token is 119 of 120, and context 64; without weights too. */
const bareGolden = at('bare-golden');
await mkdir(bareGolden);
await copyFile(golden('llava-v5keys', 'config.json'), path.join(bareGolden, 'config.json'));

/** Runs a command whose output would go to a folder of its own, which stays empty. */
async function vtcInto(args: string[], option: string, file: string, run = vtc) {
  const out = await makeSubfolder(folder);
  const result = await run(...args, option, path.join(out, file));
  expect(await listFiles(out), 'left behind').toEqual([]);
  return result;
}
// A later option takes the place of an earlier one.
const ask = ['run', '--model', bare, '--image', scene, '--question', 'What?', '--new-tokens', '2'];
const runInto = (...args: string[]) => vtcInto([...ask, ...args], '--heatmap', 'heatmap.png');
const traceInto = (...args: string[]) => vtcInto(['trace', ...args], '--out', 't.safetensors');

describe.concurrent('options', () => {
  test.each([
    ['0', 'keeps 0 of 144 patches'],
    ['101%', "is more than the picture's 144 patches"],
    ['0.0001', 'keeps 0 of 144 patches'],
    ['NaN', 'is not a number of patches'],
    ['-1', 'is not a number of patches'],
    ['', 'is not a number of patches'],
  ])('--keep "%s"', async (keep, why) => {
    const message = `--keep ${keep}: ${why}; give 1 to 144 patches, a ratio such as 0.25 or 25%`;
    expectRefusal(await runInto('--keep', keep), message);
  });

  test.each([
    [['--method', 'magic'], /^unknown method "magic": choose none.* or /],
    [['--backend', 'abacus'], 'unknown backend "abacus": choose auto, tensorflow, wasm, cpu, webgpu'],
    [['--ensemble', 'median'], '--ensemble median: choose sum, mean, max, min, rank-mean'],
    [['--layers', 'three'], '--layers three: is not a number'],
    [['-o', 'depth=3'], 'method vtc-cls has no option "depth" (its options: layers, ensemble)'],
    [['--method', 'none', '--layers', '3'], 'method none has no option "layers" (its options: none)'],
    [
      ['--method', 'cdpruner'],
      "cdpruner: the question is read by CLIP's text tower: name a CLIP of the same vision tower with --clip",
    ],
    [['--method', 'cdpruner', '--clip', bare], `${bare} is a llava checkpoint; a CLIP is needed here`],
  ] as [string[], string | RegExp][])('%j', async (args, message) => {
    expectRefusal(await runInto(...args), message);
  });

  test.each(['0', '1.5', '6'])('--layers %s of a selected layer 4', async (layers) => {
    expectRefusal(
      await runInto('--model', model, '--json', '--layers', layers),
      `--layers ${layers}: the ensemble ends at layer 4, so it can have 1 to 5 layers`,
    );
  });

  test('--backend tensorflow where it is not installed', async (context) => {
    context.skip(hasNative(), 'it is installed, or set up');
    expectRefusal(
      await runInto('--backend', 'tensorflow'),
      'backend "tensorflow" does not run: tensorflow: neither @tensorflow/tfjs-node-gpu nor tfjs-node is installed; ' +
        'npm run setup:tensorflow builds it',
    );
  });

  const wholeNumber = 'It should be a whole number of at least 1.';
  test.each([
    [['--new-tokens', '0'], `option '--new-tokens <R>' argument '0' is invalid. ${wholeNumber}`],
    [['--temperature', '-1'], /argument '-1' is invalid\. It should be a number of at least 0\.$/],
    [['--positions', 'sideways'], /'sideways' is invalid\. Allowed choices are contiguous, original\.$/],
    [['-o', 'layers'], /argument 'layers' is invalid\. It should be name=value\.$/],
    [['--colour'], "unknown option '--colour'"],
  ] as [string[], string | RegExp][])('run %j', async (args, message) => {
    expectUsageError(await runInto(...args), message);
  });

  const traced = ['trace', '--model', bare, '--out', at('never.safetensors')];
  test.each([
    [['run', '--model', model, '--question', 'What?'], "required option '--image <file...>' not specified"],
    [['trace', '--model', model], "required option '--out <file>' not specified"],
    [['generate'], "required option '--model <dir>' not specified"],
    [['inspect'], "missing required argument 'dir'"],
    [['walk'], "unknown command 'walk'"],
    [
      [...traced, '--ids', '1,x'],
      /argument '1,x' is invalid\. It should be token ids with commas between\.$/,
    ],
    [
      [...traced, '--inputs', 'a', '--image', 'b'],
      /^option '--inputs <file>' cannot be used with option '--image/,
    ],
    [
      [...traced, '--ids', '1', '--question', 'b'],
      /^option '--ids <ids>' cannot be used with option '--question/,
    ],
  ] as [string[], string | RegExp][])('%j', async (args, message) => {
    expectUsageError(await vtc(...args), message);
  });
});

describe.concurrent('in a process of its own', () => {
  test('refused before weights are read, while they are, and by the parser of options', async () => {
    const into = (...args: string[]) => vtcInto([...ask, ...args], '--heatmap', 'heatmap.png', vtcAlone);
    expectRefusal(await into('--model', at('none')), /is no checkpoint folder: it has no config\.json$/);
    expectRefusal(await into(), /bare has neither model\.safetensors nor model\./);
    expectUsageError(await into('--new-tokens', '0'), /It should be a whole number of at least 1\.$/);
  });
});

describe.concurrent('pictures', () => {
  /** A PNG of a few bytes that says it is 100 000 pixels a side. */
  async function writeBomb(): Promise<string> {
    const chunk = (type: string, body: Buffer) => {
      const typed = Buffer.concat([Buffer.from(type), body]);
      const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)];
      length.writeUInt32BE(body.length);
      sum.writeUInt32BE(crc32(typed));
      return Buffer.concat([length, typed, sum]);
    };
    const header = Buffer.alloc(13);
    header.writeUInt32BE(100_000, 0);
    header.writeUInt32BE(100_000, 4);
    header.set([8, 2], 8); // 8 bits, RGB
    const parts = [chunk('IHDR', header), chunk('IDAT', Buffer.alloc(20)), chunk('IEND', Buffer.alloc(0))];
    await writeFile(at('bomb.png'), Buffer.concat([Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'), ...parts]));
    return at('bomb.png');
  }

  test('no image, nothing, no file, a folder, half an image, a bomb', async () => {
    await writeFile(at('text.png'), 'a picture of a cat');
    await writeFile(at('empty.png'), '');
    await writeFile(at('half.png'), (await readFile(scene)).subarray(0, 700));
    const pixels = '100000 × 100000 = 10000000000 pixels, more than the limit of 100000000';
    const cases: [string, string | RegExp][] = [
      [at('text.png'), `${at('text.png')} is not an image this program knows: it reads PNG, JPEG and WebP`],
      [at('empty.png'), `${at('empty.png')} is empty (0 bytes), not an image`],
      [at('none.png'), `cannot read the image ${at('none.png')}: there is no such file or folder`],
      [await makeSubfolder(folder), /^.* is a folder without a PNG, JPEG or WebP$/],
      [at('half.png'), /half\.png cannot be decoded, it is damaged or truncated/],
      [await writeBomb(), `${at('bomb.png')} has ${pixels}`],
    ];
    await Promise.all(
      cases.map(async ([image, message]) => {
        const run = ['run', '--model', bare, '--image', image, '--question', 'What?']; // a second --image would be a clip
        expectRefusal(await vtcInto(run, '--heatmap', 'heatmap.png'), message);
      }),
    );
  });
});

describe.concurrent('folders', () => {
  /** The demo model, changed; its weights are there. */
  async function changeModel(change: (dir: string) => Promise<unknown>): Promise<string> {
    const dir = await makeSubfolder(folder);
    await cp(model, dir, { recursive: true });
    await change(dir);
    return dir;
  }

  test('missing, empty, a file', async () => {
    const empty = await makeSubfolder(folder);
    expectRefusal(
      await runInto('--model', at('none')),
      `${at('none')} is no checkpoint folder: it has no config.json`,
    );
    for (const command of [
      ['inspect', empty],
      ['generate', '--model', empty],
    ]) {
      expectRefusal(await vtc(...command), `${empty} is no checkpoint folder: it has no config.json`);
    }
    expectRefusal(
      await vtc('inspect', scene),
      /^cannot read .*config\.json: a part of its path is not a folder$/,
    );
  });

  test('of another kind, or a part of a LLaVA', async () => {
    const bert = await makeSubfolder(folder);
    await writeFile(path.join(bert, 'config.json'), '{"model_type": "bert"}');
    expectRefusal(
      await runInto('--model', bert),
      /config\.json: model_type "bert" is not supported, only llava/,
    );
    for (const [name, kind] of [
      ['clip-vision', 'clip'],
      ['llama-bias', 'llama'],
      ['qwen2', 'qwen2'],
    ]) {
      const dir = golden(name);
      expectRefusal(await runInto('--model', dir), `${dir} is a ${kind} checkpoint; a LLaVA is needed here`);
    }
  });

  test('without tokenizer, without weights, with half of them, without a shard', async () => {
    expectRefusal(await runInto('--model', bareGolden), /^.*bare-golden has no tokenizer\.json/);
    expectRefusal(await runInto(), /bare has neither model\.safetensors nor model\./);

    const half = await changeModel((dir) => truncate(path.join(dir, 'model.safetensors'), 2_000_000));
    expectRefusal(await runInto('--model', half), /model\.safetensors/);

    const index = { weight_map: { 'a.weight': 'model-00001-of-00002.safetensors' } };
    const shardless = await changeModel(async (dir) => {
      await rm(path.join(dir, 'model.safetensors'));
      await writeFile(path.join(dir, 'model.safetensors.index.json'), JSON.stringify(index));
    });
    expectRefusal(
      await runInto('--model', shardless),
      /names the shard model-00001-of-00002\.safetensors, which is not in the folder$/,
    );
  });
});

describe.concurrent('prompts', () => {
  const picture = ['--model', bareGolden, '--image', scene];
  const images = (count: number) => Array.from({ length: count }, () => 119).join();

  test.each([
    [
      'two image tokens',
      `1,${images(2)},5`,
      'the prompt has 2 image tokens (119), but one picture takes 1 or 16 in a row',
    ],
    ['one too few', `1,${images(15)},5`, /^the prompt has 15 image tokens \(119\), but /],
    ['none', '1,5', 'the prompt has no image token (119)'],
    [
      'a broken run',
      `1,${images(8)},5,${images(8)}`,
      /^the prompt has 16 image tokens \(119\) in several places, /,
    ],
    ['an unknown id', '1,119,120', '--ids: 120 is not a token id (0 .. 119)'],
    [
      'an id beyond all numbers',
      '1,119,99999999999999999999',
      /^--ids: \d+ is not a token id \(0 \.\. 119\)$/,
    ],
  ])('%s in --ids', async (_, ids, message) => {
    expectRefusal(await traceInto(...picture, '--ids', ids), message);
  });

  test('an unknown id for a LLaMA, from --ids and from a text', async () => {
    const dir = await makeSubfolder(folder);
    await copyFile(golden('llama-bias', 'config.json'), path.join(dir, 'config.json'));
    await copyFile(golden('tokenizer', 'spm-bpe.json'), path.join(dir, 'tokenizer.json'));
    expectRefusal(await traceInto('--model', dir, '--ids', '1,90'), '--ids: 90 is not a token id (0 .. 89)');
    expectRefusal(
      await traceInto('--model', dir, '--question', 'elephants'),
      /^--question: \d{3} is not a token id \(0 \.\. 89\)$/,
    );
  });

  test('neither prompt nor picture', async () => {
    expectRefusal(
      await traceInto('--model', bareGolden, '--image', scene),
      'a prompt is needed: give --question, --prompt, --ids or --inputs',
    );
    expectRefusal(
      await traceInto('--model', bareGolden, '--ids', '1,119'),
      'a picture is needed: give --image or --inputs',
    );
  });

  test('longer than the context, or with an answer that is', async () => {
    const context = "but the decoder's context is 512";
    expectRefusal(
      await runInto('--model', model, '--json', '--question', 'why '.repeat(150)),
      /^the prompt takes 6\d\d positions and 2 new tokens are asked for, but the decoder's context is 512$/,
    );
    expectRefusal(
      await runInto('--model', model, '--json', '--new-tokens', '451'),
      `the prompt takes 62 positions and 451 new tokens are asked for, ${context}`,
    );
    expectRefusal(
      await traceInto('--model', model, '--image', scene, '--ids', `3,${'5,'.repeat(600)}5`),
      `the prompt takes 637 positions and 0 new tokens are asked for, ${context}`,
    );
  });
});

describe.concurrent('--inputs', () => {
  const floats = (...shape: number[]): TensorToWrite => ({
    dtype: 'F32',
    shape,
    data: new Float32Array(shape.reduce((product, n) => product * n, 1)),
  });
  const ids = (...rows: number[][]): TensorToWrite => ({
    dtype: 'I32',
    shape: [rows.length, rows[0].length],
    data: Int32Array.from(rows.flat()),
  });
  const nan = floats(1, 3, 24, 24);
  nan.data[5] = NaN;

  test.each<[string, Record<string, TensorToWrite>, string]>([
    ['no-ids', { pixel_values: floats(1, 3, 24, 24) }, ' has no tensor input_ids'],
    ['no-pixels', { input_ids: ids([1, 119]) }, ' has no tensor pixel_values'],
    [
      'one-axis',
      { pixel_values: floats(1, 3, 24, 24), input_ids: { ...ids([1, 119]), shape: [2] } },
      ': input_ids is [2], should have 2 axes',
    ],
    [
      'other-side',
      { pixel_values: floats(1, 3, 20, 24), input_ids: ids([1, 119]) },
      ': pixel_values is [1, 3, 20, 24], should be [B, 3, 24, 24]',
    ],
    [
      'other-batch',
      { pixel_values: floats(2, 3, 24, 24), input_ids: ids([1, 119]) },
      ': pixel_values has 2 items, input_ids 1',
    ],
    ['nan', { pixel_values: nan, input_ids: ids([1, 119]) }, ': pixel_values holds NaN'],
    [
      'unknown-id',
      { pixel_values: floats(1, 3, 24, 24), input_ids: ids([-1, 119]) },
      ': -1 is not a token id (0 .. 119)',
    ],
  ])('%s', async (name, tensors, message) => {
    const file = at(`${name}.safetensors`);
    await writeSafetensors(file, tensors, {});
    expectRefusal(await traceInto('--model', bareGolden, '--inputs', file), `${file}${message}`);
  });

  test('prompts of different lengths', async () => {
    const file = at('other-length.safetensors');
    const tensors = {
      pixel_values: floats(2, 3, 24, 24),
      input_ids: ids([1, ...Array<number>(16).fill(119)], [...Array<number>(16).fill(5), 119]),
    };
    await writeSafetensors(file, tensors, {});
    expectRefusal(
      await traceInto('--model', bareGolden, '--inputs', file),
      'the prompts of a batch differ in length without their picture: 1, 16',
    );
  });

  test('missing, or no safetensors', async () => {
    expectRefusal(await traceInto('--model', bareGolden, '--inputs', at('none')), /none/);
    expectRefusal(await traceInto('--model', bareGolden, '--inputs', scene), /scene\.png/);
  });
});

describe.concurrent('outputs that cannot be written are refused before anything is read', () => {
  const nowhere = at('no-such-model');

  test('in a missing folder, a folder itself, below a file', async () => {
    const cases: [string, string][] = [
      [at('missing/out'), `there is no folder ${at('missing')}`],
      [model, 'it is a folder'],
      [path.join(scene, 'out'), `${scene} is not a folder`],
    ];
    await Promise.all(
      cases.map(async ([out, why]) => {
        const message = `cannot write ${out}: ${why}`;
        expectRefusal(await vtc(...ask, '--model', nowhere, '--heatmap', out), message);
        expectRefusal(await vtc('trace', '--model', nowhere, '--ids', '1', '--out', out), message);
      }),
    );
  });
});
