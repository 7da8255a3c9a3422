import { mkdirSync, readFileSync, readdirSync, truncateSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { UserError } from '../../src/errors.ts';
import { dtypeBytes, encodeFloat32 } from '../../src/io/dtype.ts';
import type { Dtype } from '../../src/io/dtype.ts';
import { openSafetensors, writeSafetensors } from '../../src/node/safetensors.ts';
import type { TensorToWrite } from '../../src/io/safetensors.ts';
import { countOpenFiles, fileBytes, makeFolder, writePairs } from './helpers.ts';

const dir = makeFolder();
const golden = join(import.meta.dirname, '../golden/safetensors');
const dtypes = Object.keys(dtypeBytes) as Dtype[];
const bitsOf = (values: Float32Array) => [
  ...new Uint32Array(values.buffer, values.byteOffset, values.length),
];

const dtypeAndData = fc
  .record({
    dtype: fc.constantFrom(...dtypes),
    shape: fc.array(fc.integer({ min: 0, max: 3 }), { maxLength: 4 }),
  })
  .chain(({ dtype, shape }) => {
    const length = shape.reduce((product, size) => product * size, dtypeBytes[dtype]);
    const data = fc.uint8Array({ minLength: length, maxLength: length });
    return data.map((bytes): TensorToWrite => ({ dtype, shape, data: bytes }));
  });
const text = fc.string({ unit: 'binary' });
const name = fc
  .oneof(text, fc.constantFrom('__proto__', 'constructor', 'toString', '0', '1', ''))
  .filter((name) => name !== '__metadata__');
const content = fc.record({
  tensors: fc.uniqueArray(fc.tuple(name, dtypeAndData), { selector: ([name]) => name, maxLength: 6 }),
  metadata: fc.dictionary(text, text, { maxKeys: 3 }),
});

describe('writing and reading', () => {
  test('what is written is what is read, for every dtype, shape and name', async () => {
    const path = join(dir, 'round.safetensors');
    await fc.assert(
      fc.asyncProperty(content, async ({ tensors, metadata }) => {
        await writeSafetensors(path, new Map(tensors), metadata);
        const file = await openSafetensors(path);
        expect(Object.entries(file.metadata).sort()).toEqual(Object.entries(metadata).sort());
        expect(new Set(file.tensors.keys())).toEqual(new Set(tensors.map(([name]) => name)));
        for (const [name, { dtype, shape, data }] of tensors) {
          expect(file.tensors.get(name)).toMatchObject({ name, dtype, shape, file: path });
          const raw = await file.readRaw(name);
          expect(raw).toEqual(data);
          expect(raw.buffer.byteLength).toBe(raw.byteLength);
        }
        await file.close();
      }),
      { numRuns: 150 },
    );
  });

  test('the order of insertion leaves no trace; every tensor begins aligned, in the order of the data', async () => {
    const [pathA, pathB] = [join(dir, 'a.safetensors'), join(dir, 'b.safetensors')];
    await fc.assert(
      fc.asyncProperty(content, async ({ tensors, metadata }) => {
        await writeSafetensors(pathA, new Map(tensors), metadata);
        const reversed = Object.fromEntries(Object.entries(metadata).reverse());
        await writeSafetensors(pathB, Object.fromEntries(tensors.toReversed()), reversed);
        expect(readFileSync(pathA).equals(readFileSync(pathB))).toBe(true);

        const file = await openSafetensors(pathA);
        const begins = [...file.tensors.values()].map(({ begin }) => begin);
        expect(begins).toEqual(begins.toSorted((a, b) => a - b));
        for (const { begin, dtype } of file.tensors.values()) expect(begin % dtypeBytes[dtype]).toBe(0);
        await file.close();
      }),
      { numRuns: 150 },
    );
  });

  test('an empty file, metadata or not', async () => {
    const path = join(dir, 'empty.safetensors');
    await writeSafetensors(path, {});
    expect(readFileSync(path).toString('latin1')).toBe('\x08\0\0\0\0\0\0\0{}      ');
    await writeSafetensors(path, {}, { b: '2', a: '1' });
    const file = await openSafetensors(path);
    expect(file.metadata).toEqual({ a: '1', b: '2' });
    expect(file.tensors.size).toBe(0);
    await file.close();
  });

  test('float32 and int32 values are encoded as the dtype asks', async () => {
    const path = join(dir, 'encoded.safetensors');
    const data = Float32Array.of(9, 1.5, -0.1, Infinity).subarray(1); // a view that does not begin its buffer
    const ids = Int32Array.of(9, -1, 2 ** 31 - 1, -(2 ** 31)).subarray(1);
    const floats = (['F64', 'F32', 'F16', 'BF16'] as const).map((dtype) => ({ dtype, shape: [3], data }));
    const ints = (['I64', 'I32'] as const).map((dtype) => ({ dtype, shape: [3], data: ids }));
    await writeSafetensors(path, Object.fromEntries([...floats, ...ints].map((t) => [t.dtype, t])));
    const file = await openSafetensors(path);
    for (const { dtype } of floats) expect(await file.readRaw(dtype)).toEqual(encodeFloat32(data, dtype));
    for (const { dtype } of ints) expect(await file.readInt32(dtype)).toEqual(Int32Array.from(ids));
    expect(await file.readFloat32('I64')).toEqual(Float32Array.from(ids));
    await file.close();
  });

  test('tensors named like what every object has are just tensors', async () => {
    const path = join(dir, 'prototype.safetensors');
    writePairs(path, ['toString', 'constructor']);
    const file = await openSafetensors(path);
    expect([...file.tensors.keys()]).toEqual(['toString', 'constructor']);
    await expect(file.readRaw('valueOf')).rejects.toThrow(new UserError(`${path} has no tensor "valueOf"`));
    await file.close();
  });
});

describe('against the Python library', () => {
  const expected = JSON.parse(readFileSync(join(golden, 'dtypes.json'), 'utf8')) as object;
  const tensors = Object.entries(expected) as [
    string,
    { dtype: string; shape: number[]; float32Bits: number[]; integers: number[] | null },
  ][];

  test('every tensor has PyTorch’s values', async () => {
    const file = await openSafetensors(join(golden, 'dtypes.safetensors'));
    expect(file.metadata).toEqual({ format: 'pt' });
    expect(new Set(file.tensors.keys())).toEqual(new Set(tensors.map(([name]) => name)));
    expect(new Set([...file.tensors.values()].map(({ dtype }) => dtype))).toEqual(new Set(dtypes));
    for (const [name, { shape, float32Bits, integers }] of tensors) {
      expect(file.tensors.get(name)!.shape).toEqual(shape);
      expect(bitsOf(await file.readFloat32(name)), name).toEqual(float32Bits);
      if (integers) expect([...(await file.readInt32(name))], name).toEqual(integers);
      else await expect(file.readInt32(name)).rejects.toThrow(/integers are needed/);
    }
    await file.close();
  });

  test('narrowing rounds as PyTorch does', async () => {
    const file = await openSafetensors(join(golden, 'dtypes.safetensors'));
    const hard = await file.readFloat32('hard.f32');
    expect(encodeFloat32(hard, 'F16')).toEqual(await file.readRaw('hard.f16'));
    expect(encodeFloat32(hard, 'BF16')).toEqual(await file.readRaw('hard.bf16'));
    await file.close();
  });

  test.each(['dtypes', 'plain'])(
    '%s.safetensors is written byte for byte as Python wrote it',
    async (stem) => {
      const file = await openSafetensors(join(golden, `${stem}.safetensors`));
      const copied: [string, TensorToWrite][] = [];
      for (const [name, { dtype, shape }] of file.tensors) {
        copied.unshift([name, { dtype, shape, data: await file.readRaw(name) }]);
      }
      const path = join(dir, 'copy.safetensors');
      await writeSafetensors(path, new Map(copied), file.metadata);
      await file.close();
      expect(readFileSync(path).equals(readFileSync(join(golden, `${stem}.safetensors`)))).toBe(true);
    },
  );
});

test('against the npm package safetensors, which reads only files without metadata', async () => {
  // @ts-expect-error: the package has no types
  const { SafeTensor } = (await import('safetensors')) as unknown as {
    SafeTensor: new (bytes: Uint8Array) => {
      metadata: Map<string, { dtype: string; shape: number[]; data_offsets: [number, number] }>;
      getTensor(name: string): Uint8Array;
    };
  };
  const file = await openSafetensors(join(golden, 'plain.safetensors'));
  const theirs = new SafeTensor(Uint8Array.from(readFileSync(file.path)));
  expect([...theirs.metadata.keys()]).toEqual([...file.tensors.keys()]);
  for (const [name, { dtype, shape, begin, end }] of file.tensors) {
    expect(theirs.metadata.get(name)).toEqual({ dtype, shape, data_offsets: [begin, end] });
    expect(Uint8Array.from(theirs.getTensor(name))).toEqual(await file.readRaw(name));
  }
  await file.close();
});

describe('what the disk may do', () => {
  test('a path that is not there, or no file', async () => {
    const missing = join(dir, 'missing.safetensors');
    await expect(openSafetensors(missing)).rejects.toThrow(UserError);
    await expect(openSafetensors(missing)).rejects.toThrow(
      `cannot read ${missing}: there is no such file or folder`,
    );
    await expect(openSafetensors(dir)).rejects.toThrow(new UserError(`${dir} is not a file`));
    await expect(openSafetensors('a\0b')).rejects.toThrow(UserError);
  });

  test('a file cut short after it was opened', async () => {
    const path = join(dir, 'cut.safetensors');
    writePairs(path, ['a', 'b']);
    const file = await openSafetensors(path);
    const { begin } = file.tensors.get('b')!;
    truncateSync(path, begin + 3);
    await expect(file.readRaw('b')).rejects.toThrow(
      new UserError(`${path}: tensor "b" broke off while it was read: 3 of 8 bytes were there`),
    );
    expect(await file.readRaw('a')).toHaveLength(8);
    await file.close();
  });

  test('a tensor larger than memory', async () => {
    const path = join(dir, 'sparse.safetensors');
    const bytes = 2 ** 43;
    const entry = { dtype: 'U8', shape: [bytes], data_offsets: [0, bytes] };
    const head = fileBytes(JSON.stringify({ a: entry }), 0);
    writeFileSync(path, head);
    try {
      truncateSync(path, head.length + bytes); // sparse: takes no room
    } catch (error) {
      console.log(`skipped: no sparse file of 8 TiB can be made here (${String(error)})`);
      return;
    }
    const file = await openSafetensors(path);
    await expect(file.readRaw('a')).rejects.toThrow(
      `${path}: tensor "a" takes ${bytes} bytes, for which there is no memory: `,
    );
    await file.close();
    truncateSync(path, 0);
  });

  test('closing twice is closing; reading then is a bug', async () => {
    const path = join(dir, 'closed.safetensors');
    writePairs(path, ['a']);
    const file = await openSafetensors(path);
    await file.close();
    await file.close();
    const error = await file.readRaw('a').catch((error: unknown) => error);
    expect(error).toBeInstanceOf(Error);
    expect(error).not.toBeInstanceOf(UserError);
  });

  test('a file that is refused is closed', async () => {
    const path = join(dir, 'bad.safetensors');
    writeFileSync(path, fileBytes('{}', 8));
    const before = countOpenFiles();
    await expect(openSafetensors(path)).rejects.toThrow(UserError);
    expect(countOpenFiles()).toBe(before);
  });
});

describe('refusing to write', () => {
  const pair = (overrides: object = {}): TensorToWrite => ({
    dtype: 'F32',
    shape: [2],
    data: Float32Array.of(1, 2),
    ...overrides,
  });
  const folder = join(dir, 'writer');
  mkdirSync(folder);
  const path = join(folder, 'out.safetensors');
  const supported = dtypes.join(', ');

  const cases: [string, Record<string, TensorToWrite>, Record<string, string>, string][] = [
    [
      'the name of the metadata',
      { __metadata__: pair() },
      {},
      `${path}: no tensor can be named "__metadata__"`,
    ],
    [
      'a name that is no text',
      { '\ud800': pair() },
      {},
      `${path}: the tensor name "\\ud800" holds half of a surrogate pair`,
    ],
    [
      'an unknown dtype',
      { a: pair({ dtype: 'float' }) },
      {},
      `${path}: tensor "a" has the unknown dtype "float"; supported are ${supported}`,
    ],
    [
      'a bad shape',
      { a: pair({ shape: [1.5] }) },
      {},
      `${path}: tensor "a" has shape [1.5], not a list of non-negative integers`,
    ],
    [
      'a huge shape',
      { a: pair({ shape: [2 ** 52, 0] }), b: pair({ shape: [2 ** 52] }) },
      {},
      `${path}: tensor "a" has 8 bytes of data, but F32 [4503599627370496, 0] takes 0`,
    ],
    [
      'a shape beyond counting',
      { b: pair({ shape: [2 ** 52] }) },
      {},
      `${path}: tensor "b" has shape [4503599627370496], too large to count its bytes`,
    ],
    [
      'too few values',
      { a: pair({ shape: [3] }) },
      {},
      `${path}: tensor "a" has 8 bytes of data, but F32 [3] takes 12`,
    ],
    [
      'too many bytes',
      { a: pair({ data: new Uint8Array(9) }) },
      {},
      `${path}: tensor "a" has 9 bytes of data, but F32 [2] takes 8`,
    ],
    [
      'floats as integers',
      { a: pair({ dtype: 'I32' }) },
      {},
      `${path}: tensor "a" has float32 data, which is not written as I32`,
    ],
    [
      'integers as floats',
      { a: pair({ data: Int32Array.of(1, 2) }) },
      {},
      `${path}: tensor "a" has int32 data, which is not written as F32`,
    ],
    [
      'metadata that is not text',
      { a: pair() },
      { k: 1 as unknown as string },
      `${path}: metadata "k" is not a string`,
    ],
    [
      'metadata with half of a surrogate pair',
      { a: pair() },
      { k: '\udc00' },
      `${path}: metadata "k" holds half of a surrogate pair`,
    ],
  ];

  test.each(cases)('%s', async (_, tensors, metadata, message) => {
    await expect(writeSafetensors(path, tensors, metadata)).rejects.toThrow(new UserError(message));
    expect(readdirSync(folder)).toEqual([]);
  });

  test('a folder that is not there, or no folder', async () => {
    const nowhere = join(folder, 'none', 'out.safetensors');
    await expect(writeSafetensors(nowhere, { a: pair() })).rejects.toThrow(
      `cannot write ${nowhere}: there is no folder ${join(folder, 'none')}`,
    );
    const file = join(dir, 'file');
    writeFileSync(file, '');
    const under = join(file, 'out.safetensors');
    await expect(writeSafetensors(under, { a: pair() })).rejects.toThrow(UserError);
    expect(readdirSync(folder)).toEqual([]);
  });

  test('a target that cannot be replaced: the whole temporary file goes', async () => {
    const target = join(folder, 'taken.safetensors');
    mkdirSync(target);
    const before = countOpenFiles();
    await expect(writeSafetensors(target, { a: pair() })).rejects.toThrow(`cannot write ${target}: `);
    expect(readdirSync(folder)).toEqual(['taken.safetensors']);
    expect(countOpenFiles()).toBe(before);
  });

  describe('a disk that fails half-way', () => {
    afterEach(() => vi.restoreAllMocks());

    test('leaves the old file as it was, and nothing else', async () => {
      const target = join(dir, 'half', 'out.safetensors');
      mkdirSync(join(dir, 'half'));
      await writeSafetensors(target, { a: pair() });
      const old = readFileSync(target);

      const probe = await open(target);
      const prototype = Object.getPrototypeOf(probe) as typeof probe;
      await probe.close();
      const write = vi.spyOn(prototype, 'writeFile');
      write.mockImplementationOnce(() => Promise.resolve());
      write.mockImplementationOnce(() => Promise.reject(new Error('ENOSPC: no space left on device')));
      await expect(writeSafetensors(target, { b: pair() })).rejects.toThrow(
        new UserError(`cannot write ${target}: ENOSPC: no space left on device`),
      );
      expect(write).toHaveBeenCalledTimes(2);
      expect(readdirSync(join(dir, 'half'))).toEqual(['out.safetensors']);
      expect(readFileSync(target).equals(old)).toBe(true);
    });
  });
});
