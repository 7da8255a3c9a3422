/** `vtc download`, from a hub of our own, and `--model org/name` after it. */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readdir, readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { shippedModel } from '../../src/node/shipped.ts';
import {
  expectRefusal,
  expectUsageError,
  killWhen,
  listFiles,
  makeDemoFiles,
  makeFileFolder,
  makeSubfolder,
  program,
  vtc,
  vtcIn,
} from '../support/cli.ts';
import { serveHub } from '../support/hub.ts';

const folder = await makeFileFolder();
const { scene } = await makeDemoFiles(path.join(folder, 'demo'));
const question = ['--image', scene, '--question', 'how many shapes are there ?'];
const size = (await stat(path.join(shippedModel(), 'model.safetensors'))).size;

/** A hub with our small LLaVA, and a cache without anything. */
async function open() {
  const hub = await serveHub(shippedModel(), 'vtc/llava');
  afterAll(hub.close);
  const cache = await makeSubfolder(folder);
  const env = { HF_ENDPOINT: hub.address, HF_HUB_CACHE: cache };
  const repo = path.join(cache, 'models--vtc--llava');
  return { hub, env, cache, repo, snapshot: path.join(repo, 'snapshots', hub.commit) };
}

test('what was downloaded answers by its name, as from its folder', async () => {
  const { hub, env, snapshot } = await open();
  const done = await vtcIn(env, 'download', 'vtc/llava');
  expect(done.stderr).toBe('');
  const line = new RegExp(
    `^vtc/llava at ${hub.commit.slice(0, 12)}: 7 files, 2\\.6\\d MiB, 2\\.6\\d MiB fetched\\n${snapshot}\\n$`,
  );
  expect(done.stdout).toMatch(line);
  for (const file of await readdir(shippedModel())) {
    const [theirs, ours] = await Promise.all(
      [shippedModel(), snapshot].map((dir) => readFile(path.join(dir, file))),
    );
    expect(ours.equals(theirs), file).toBe(true);
  }
  const [byName, fromFolder] = await Promise.all([
    vtcIn(env, 'run', '--model', 'vtc/llava', ...question, '--quiet'),
    vtc('run', ...question, '--quiet'),
  ]);
  expect(byName).toEqual(fromFolder);
  expect(byName).toMatchObject({ code: 0, stderr: '' });
  expect(byName.stdout.trim()).not.toBe('');
  const inspected = await vtcIn(env, 'inspect', 'vtc/llava', '--json');
  expect(JSON.parse(inspected.stdout)).toMatchObject({ dir: snapshot });
  expect((await vtcIn(env, 'download', 'vtc/llava')).stdout).toContain(', all there already\n');
});

test('one that was killed is no model, and goes on', async () => {
  const { hub, env, repo, snapshot } = await open();
  const weights = createHash('sha256')
    .update(await readFile(path.join(shippedModel(), 'model.safetensors')))
    .digest('hex');
  const partial = path.join(repo, 'blobs', `${weights}.vtc.incomplete`);
  hub.slow = true;
  const reached = async () => ((await stat(partial).catch(() => undefined))?.size ?? 0) > size / 4;
  await killWhen(['download', 'vtc/llava'], reached, env);
  hub.slow = false;
  const fetches = `vtc/llava is no folder, and Hugging Face's cache has no such model in ${repo}: vtc download vtc/llava fetches it`;
  expectRefusal(await vtcIn(env, 'run', '--model', 'vtc/llava', ...question), fetches);
  const there = (await stat(partial)).size;
  hub.requests = [];
  expect(await vtcIn(env, 'download', 'vtc/llava')).toMatchObject({ code: 0, stderr: '' });
  expect(hub.requests.filter(({ path }) => path.includes('/resolve/'))).toMatchObject([
    { range: `bytes=${there}-` },
  ]);
  const bytes = await readFile(path.join(snapshot, 'model.safetensors'));
  expect(createHash('sha256').update(bytes).digest('hex')).toBe(weights);
});

test('a disk that takes no more', async () => {
  const { env, repo } = await open();
  const limited = `ulimit -f 500; exec "${process.execPath}" "${program}" download vtc/llava`; // KiB
  const result = await new Promise<{ code: number | null; stdout: string; stderr: string }>((resolve) => {
    const child = execFile(
      'bash',
      ['-c', limited],
      { env: { ...process.env, ...env } },
      (_, stdout, stderr) => resolve({ code: child.exitCode, stdout, stderr }),
    );
  });
  expectRefusal(result, /^cannot write .*\.vtc\.incomplete: the file system takes no file of this size$/);
  expectRefusal(await vtcIn(env, 'inspect', 'vtc/llava'), /vtc download vtc\/llava fetches it$/);
  expect((await listFiles(repo)).filter((file) => !file.startsWith('blobs'))).toEqual([]);
  expect(await vtcIn(env, 'download', 'vtc/llava')).toMatchObject({ code: 0 });
});

describe.concurrent('refused in one line, and nothing is left', async () => {
  const { hub, env, cache } = await open();

  test.each([
    [
      ['llava'],
      {},
      /^llava names no model of the Hugging Face Hub: it should be org\/name, or org\/name@revision$/,
    ],
    [['../../llava'], {}, /^\.\.\/\.\.\/llava names no model of the Hugging Face Hub/],
    [['vtc/llava', '--revision', '../main'], {}, '--revision ../main: is no name of a branch, tag or commit'],
    [['vtc/llava', '--to', ''], {}, '--to <dir> is empty: name a file or folder'],
    [['vtc/other'], {}, /^http:\S+ has no vtc\/other: http:\S+ answers 404 Not Found$/],
    [
      ['vtc/llava'],
      { HF_HUB_OFFLINE: 'true' },
      'HF_HUB_OFFLINE is true: nothing is downloaded until it is unset',
    ],
    [
      ['vtc/llava'],
      { HF_HUB_CACHE: '/proc/hub' },
      /^cannot make the folder \/proc\/hub\/\.locks\S+: \/proc cannot hold folders$/,
    ],
    [
      ['vtc/llava', '--to', '/proc/hub'],
      {},
      /^cannot write \/proc\/hub\.\w{12}\.incomplete\.lock: \/proc cannot hold files$/,
    ],
  ] as [string[], Record<string, string>, string | RegExp][])(
    'download %j %j',
    async (args, given, message) => {
      expectRefusal(await vtcIn({ ...env, ...given }, 'download', ...args), message);
      expect(await readdir(cache)).toEqual([]);
      expect(hub.requests.filter(({ path }) => path.includes('/resolve/'))).toEqual([]);
    },
  );

  test('without a name', async () => {
    expectUsageError(await vtcIn(env, 'download'), "missing required argument 'org/name'");
  });

  const none =
    /^vtc\/none is no folder, and Hugging Face's cache has no such model in \S+models--vtc--none: vtc download vtc\/none fetches it$/;
  test.each([
    ['run --model', ['run', ...question, '--model', 'vtc/none']],
    ['run --clip', ['run', ...question, '--method', 'cdpruner', '--clip', 'vtc/none']],
    [
      'eval, one of two',
      ['eval', '--model', shippedModel(), 'vtc/none', '--out', path.join(folder, 'never')],
    ],
    ['trace', ['trace', '--model', 'vtc/none', '--ids', '1', '--out', path.join(folder, 'never')]],
    ['inspect', ['inspect', 'vtc/none']],
  ])('what is not in the cache: %s', async (_, args) => {
    expectRefusal(await vtcIn(env, ...args), none);
  });
});
