import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { UserError } from '../../src/errors.ts';
import { openWeights } from '../../src/node/checkpoint.ts';
import { countOpenFiles, fileBytes, makeFolder, writePairs } from './helpers.ts';

const dir = join(makeFolder(), 'model');
const indexPath = join(dir, 'model.safetensors.index.json');
const writeIndex = (weightMap: unknown) =>
  writeFileSync(indexPath, JSON.stringify({ weight_map: weightMap }));

beforeEach(() => {
  rmSync(dir, { recursive: true, force: true });
  mkdirSync(dir);
});

/** Opening is refused with this message, and no file stays open. */
async function expectRefusal(message: string | RegExp): Promise<void> {
  const before = countOpenFiles();
  const error: unknown = await openWeights(dir).catch((error: unknown) => error);
  expect(error).toBeInstanceOf(UserError);
  if (typeof message === 'string') expect((error as Error).message).toBe(message);
  else expect((error as Error).message).toMatch(message);
  expect(countOpenFiles()).toBe(before);
}

describe('a folder', () => {
  test('of one file', async () => {
    writePairs(join(dir, 'model.safetensors'), ['a', 'b']);
    const weights = await openWeights(dir);
    expect(weights).toMatchObject({ dir, files: [join(dir, 'model.safetensors')], bytes: 16 });
    expect([...weights.tensors.keys()]).toEqual(['a', 'b']);
    expect(await weights.readFloat32('b')).toHaveLength(2);
    await expect(weights.readFloat32('c')).rejects.toThrow(new UserError(`${dir} has no tensor "c"`));
    const before = countOpenFiles();
    await weights.close();
    if (before > 0) expect(countOpenFiles()).toBe(before - 1);
  });

  test('of shards, made in Python', async () => {
    const golden = join(import.meta.dirname, '../golden/safetensors/sharded');
    const before = countOpenFiles();
    const weights = await openWeights(golden);
    expect(weights.files).toEqual([1, 2].map((i) => join(golden, `model-0000${i}-of-00002.safetensors`)));
    expect([...weights.tensors.keys()]).toEqual(['embed', 'norm', 'head']);
    expect(weights.tensors.get('head')!.file).toBe(weights.files[1]);
    expect(weights.bytes).toBe(24 + 12 + 8);
    expect(await weights.readFloat32('embed')).toEqual(Float32Array.of(0, 1, 2, 3, 4, 5));
    expect(await weights.readFloat32('norm')).toEqual(Float32Array.of(1, 1, 1));
    expect(await weights.readFloat32('head')).toEqual(Float32Array.of(0, 1, 2, 3));
    await weights.close();
    expect(countOpenFiles()).toBe(before);
  });

  test('of both: the one file counts', async () => {
    writePairs(join(dir, 'model.safetensors'), ['a']);
    writeFileSync(indexPath, 'not read');
    const weights = await openWeights(dir);
    expect(weights.files).toEqual([join(dir, 'model.safetensors')]);
    await weights.close();
  });

  test('whose tensors are named like what every object has', async () => {
    writePairs(join(dir, 's.safetensors'), ['constructor', 'toString']);
    writeIndex({ constructor: 's.safetensors', toString: 's.safetensors' });
    const weights = await openWeights(dir);
    expect([...weights.tensors.keys()]).toEqual(['constructor', 'toString']);
    await weights.close();
  });

  test('that is not there, or no folder', async () => {
    rmSync(dir, { recursive: true });
    await expectRefusal(`cannot read the folder ${dir}: there is no such file or folder`);
    writeFileSync(dir, '');
    await expectRefusal(`cannot read the folder ${dir}: a part of its path is not a folder`);
  });

  const lack = `${dir} has neither model.safetensors nor model.safetensors.index.json`;
  test('without weights', async () => {
    writeFileSync(join(dir, 'README.md'), '');
    await expectRefusal(lack);
  });

  test.each([
    ['pytorch_model.bin', 'weights as a Python pickle'],
    ['pytorch_model-00001-of-00002.bin', 'weights as a Python pickle'],
    ['pytorch_model.bin.index.json', 'weights as a Python pickle'],
    ['consolidated.00.pth', 'weights as a Python pickle'],
    ['adapter_config.json', 'an adapter (LoRA) without its model'],
    ['adapter_model.safetensors', 'an adapter (LoRA) without its model'],
    ['llava-v1.5-7b-Q4_K_M.gguf', "llama.cpp's GGUF format"],
    ['model.onnx', 'an ONNX graph'],
    ['tf_model.h5', "TensorFlow's weights"],
    ['flax_model.msgpack', "Flax's weights"],
    ['other.safetensors', 'weights must be named model.safetensors'],
  ])('with only %s', async (name, what) => {
    writeFileSync(join(dir, name), '');
    const message = await openWeights(dir).then(
      () => '',
      ({ message }: Error) => message,
    );
    expect(message.startsWith(`${lack}; it has ${name}`)).toBe(true);
    expect(message.slice(lack.length)).toContain(what);
  });
});

describe('an index', () => {
  test('that is no file', async () => {
    mkdirSync(indexPath);
    await expectRefusal(`cannot read ${indexPath}: it is a folder`);
  });

  test.each(['', '{"weight_map":', '{}}'])('that is not JSON: %j', async (text) => {
    writeFileSync(indexPath, text);
    await expectRefusal(/index\.json is not JSON: .*[^.]$/);
  });

  test.each(['null', '3', '[]', '{}', '{"weight_map":null}', '{"weight_map":["a"]}', '{"weight_map":"a"}'])(
    'without a weight_map: %s',
    async (text) => {
      writeFileSync(indexPath, text);
      await expectRefusal(`${indexPath} has no weight_map from tensors to shards`);
    },
  );

  test('that places nothing', async () => {
    writeIndex({});
    await expectRefusal(`${indexPath}: weight_map is empty`);
  });

  test('that places a tensor twice', async () => {
    writeFileSync(indexPath, '{"weight_map":{"a":"1.safetensors","a":"2.safetensors"}}');
    await expectRefusal(`${indexPath} has the key "a" twice in "weight_map"`);
  });

  test.each([
    '../x.safetensors',
    '/x.safetensors',
    'sub/x.safetensors',
    '..\\x.safetensors',
    'C:x.safetensors',
    'x..safetensors',
    'x\0.safetensors',
    'pytorch_model.bin',
    '',
    '..',
    3,
    null,
  ])('that places a tensor in %j', async (shard) => {
    writePairs(join(dir, '..', 'x.safetensors'), ['a']);
    writeIndex({ a: shard });
    await expectRefusal(
      `${indexPath} places tensor "a" in ${JSON.stringify(shard)}, which is not the name of a safetensors file in the folder`,
    );
  });

  test('whose total_size is a fraction, as some published ones are', async () => {
    writePairs(join(dir, 's.safetensors'), ['a']);
    writeFileSync(indexPath, '{"metadata":{"total_size":8.0},"weight_map":{"a":"s.safetensors"}}');
    const weights = await openWeights(dir);
    await weights.close();
  });
});

describe('index and shards', () => {
  const [one, two] = ['1.safetensors', '2.safetensors'];

  test('a shard is missing', async () => {
    writePairs(join(dir, one), ['a']);
    writeIndex({ a: one, b: two });
    await expectRefusal(`${indexPath} names the shard ${two}, which is not in the folder`);
  });

  test('a shard lacks a tensor', async () => {
    writePairs(join(dir, one), ['a']);
    writePairs(join(dir, two), ['b']);
    writeIndex({ a: one, b: two, c: two });
    await expectRefusal(`${indexPath} places tensor "c" in ${two}, which lacks it`);
  });

  test('a tensor is in another shard than the index says', async () => {
    writePairs(join(dir, one), ['a', 'c']);
    writePairs(join(dir, two), ['b']);
    writeIndex({ a: one, b: two, c: two });
    await expectRefusal(`${indexPath} places tensor "c" in ${two}, which lacks it`);
  });

  test('the index lacks a tensor', async () => {
    writePairs(join(dir, one), ['a', 'c']);
    writeIndex({ a: one });
    await expectRefusal(`${join(dir, one)}: tensor "c" is not in ${indexPath}`);
  });

  test('a tensor is in two shards', async () => {
    writePairs(join(dir, one), ['a', 'b']);
    writePairs(join(dir, two), ['b']);
    writeIndex({ a: one, b: two });
    await expectRefusal(`${join(dir, one)} and ${join(dir, two)} both hold tensor "b"`);
  });

  test('the second shard is malformed: the first is closed too', async () => {
    writePairs(join(dir, one), ['a']);
    writeFileSync(join(dir, two), fileBytes('[]', 0));
    writeIndex({ a: one, b: two });
    await expectRefusal(`${join(dir, two)}: the header does not begin with "{"`);
  });
});

const fixtures = join(import.meta.dirname, '../../../shared/fixtures');
if (!existsSync(fixtures)) console.log(`skipped: the fixtures are not at ${fixtures}`);

test.skipIf(!existsSync(fixtures))('the checkpoints among the fixtures', async () => {
  const folders = readdirSync(fixtures, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  const seen: Record<string, string> = {};
  for (const { name } of folders) {
    const path = join(fixtures, name);
    if (!readdirSync(path).includes('config.json')) continue;
    const weights = await openWeights(path);
    for (const [tensor, { shape }] of weights.tensors) {
      const values = await weights.readFloat32(tensor);
      expect(values.length).toBe(shape.reduce((product, size) => product * size, 1));
      expect(values.every(Number.isFinite), `${name} ${tensor}`).toBe(true);
    }
    const dtypes = new Set([...weights.tensors.values()].map(({ dtype }) => dtype));
    seen[name] = `${weights.files.length} ${[...dtypes].join()}`;
    await weights.close();
  }
  expect(seen).toEqual({ 'llava-basic': '1 F32', 'llava-sharded-bf16': '3 BF16', 'stories260k': '1 F32' });
});
