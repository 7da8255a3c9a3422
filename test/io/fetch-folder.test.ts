import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { UserError } from '../../src/errors.ts';
import { readJson } from '../../src/folder.ts';
import { fetchFolder } from '../../src/io/fetch-folder.ts';
import { openWeights, type WeightFiles } from '../../src/io/sharded.ts';
import { diskFolder } from '../../src/node/folder.ts';
import { writeSafetensors } from '../../src/node/safetensors.ts';
import { serve, type Server } from '../support/serve.ts';

const sharded = path.join(import.meta.dirname, '../golden/safetensors/sharded');
const megabyte = 2 ** 20;

let large: string; // a folder whose file is not fetched whole at its opening
beforeAll(async () => {
  large = await mkdtemp(path.join(tmpdir(), 'vtc-cls-fetch-'));
  const values = Float32Array.from({ length: 3 * megabyte }, (_, i) => i);
  await writeSafetensors(path.join(large, 'model.safetensors'), {
    a: { dtype: 'F32', shape: [2 * megabyte], data: values.subarray(megabyte) },
    b: { dtype: 'F32', shape: [3 * megabyte], data: values },
    c: { dtype: 'F32', shape: [0], data: new Float32Array() },
  });
  await writeFile(path.join(large, 'empty.json'), '');
});
afterAll(() => rm(large, { recursive: true }));

/** Serves `/disk/` for one test. */
async function withServer(
  disk: string,
  ranges: boolean,
  body: (server: Server) => Promise<void>,
): Promise<void> {
  const server = await serve({ '/disk/': disk }, ranges);
  try {
    await body(server);
  } finally {
    await server.close();
  }
}

async function valuesOf(weights: WeightFiles): Promise<Map<string, Uint8Array>> {
  const values = new Map<string, Uint8Array>();
  for (const name of weights.tensors.keys()) values.set(name, await weights.readRaw(name));
  await weights.close();
  return values;
}

const refusalOf = async (work: Promise<unknown>): Promise<string> => {
  const error: unknown = await work.then(
    () => undefined,
    (error: unknown) => error,
  );
  expect(error).toBeInstanceOf(UserError);
  return (error as UserError).message;
};

describe.each([
  ['of parts', true],
  ['of whole files', false],
])('a folder behind a server %s', (_, ranges) => {
  test.each([
    ['shards', () => sharded],
    ['a large file', () => large],
  ])('has the tensors that it has on disk: %s', async (_, dir) => {
    await withServer(dir(), ranges, async ({ address }) => {
      const there = await valuesOf(await openWeights(fetchFolder(`${address}/disk`)));
      const here = await valuesOf(await openWeights(diskFolder(dir())));
      expect([...there.keys()]).toEqual([...here.keys()]);
      for (const [name, bytes] of here) expect(Buffer.compare(there.get(name)!, bytes), name).toBe(0);
    });
  });

  test('says what is not there', async () => {
    await withServer(large, ranges, async ({ address }) => {
      const folder = fetchFolder(`${address}/disk/`);
      expect(await folder.read('config.json')).toBeUndefined();
      expect(await readJson(folder, 'config.json')).toBeUndefined();
      expect(await folder.has('config.json')).toBe(false);
      expect(await folder.has('model.safetensors')).toBe(true);
      expect(await refusalOf(folder.open('other'))).toBe(
        `cannot read ${address}/disk/other: there is no such file`,
      );
      expect((await folder.open('empty.json')).size).toBe(0);
    });
  });
});

test('of a large file the header and the tensors asked for travel', async () => {
  await withServer(large, true, async ({ address, requests }) => {
    const weights = await openWeights(fetchFolder(`${address}/disk`, ['model.safetensors']));
    expect(requests).toEqual(['GET /disk/model.safetensors bytes=0-16777215']);
    await weights.readRaw('b');
    await weights.readRaw('c');
    // of 'b', what did not come with the header
    expect(requests.slice(1)).toEqual([
      `GET /disk/model.safetensors bytes=16777216-${weights.tensors.get('b')!.end - 1}`,
    ]);
    await weights.close();
  });
});

test('a list that is given is taken', async () => {
  const files = [
    'config.json',
    'additional_chat_templates/default.jinja',
    'additional_chat_templates/x.jinja',
  ];
  const folder = fetchFolder('http://127.0.0.1:9/none', files);
  expect(await folder.list()).toEqual(['config.json', 'additional_chat_templates']);
  expect(await folder.list('additional_chat_templates')).toEqual(['default.jinja', 'x.jinja']);
  expect(await folder.has('model.safetensors')).toBe(false);
  expect(await folder.read('model.safetensors')).toBeUndefined();
});

test('a server that does not answer is told by its address', async () => {
  const folder = fetchFolder('http://127.0.0.1:9/none'); // a port that fetch refuses
  expect(await refusalOf(folder.read('config.json'))).toMatch(
    /^cannot read http:\/\/127\.0\.0\.1:9\/none\/config\.json: /,
  );
});
