/** Every way a file can be wrong, each with its message. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { UserError } from '../../src/errors.ts';
import { openSafetensors } from '../../src/node/safetensors.ts';
import { fileBytes, makeFolder } from './helpers.ts';

const path = join(makeFolder(), 'x.safetensors');

/** What opening these bytes says; `undefined` if it opens. Anything but a UserError fails the test. */
async function refusalOf(bytes: Uint8Array): Promise<string | undefined> {
  writeFileSync(path, bytes);
  try {
    const file = await openSafetensors(path);
    await file.close();
    return undefined;
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    return error.message.replaceAll(path, 'FILE');
  }
}

const entry = (dtype: unknown, shape: unknown, offsets: unknown) =>
  JSON.stringify({ dtype, shape, data_offsets: offsets });
const good = entry('F32', [2], [0, 8]);

test.each([
  [
    'version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 13\n',
    'a git-lfs pointer, not the file itself: run git lfs pull in its repository',
  ],
  ['GGUF\x03\0\0\0\x10\0\0\0', "in llama.cpp's GGUF format: take the checkpoint that it was made from"],
  [
    'PK\x03\x04\x14\0\x08\x08archive/data.pkl',
    "a Python pickle (PyTorch's .bin) under this name: named pytorch_model.bin, vtc convert reads it",
  ],
  [
    '\x80\x02}q\0X\x0c',
    "a Python pickle (PyTorch's .bin) under this name: named pytorch_model.bin, vtc convert reads it",
  ],
  ['<!DOCTYPE html><html>Sign in', 'a web page, not a file of weights: download it again'],
  ['{"error": "Entry not found"}', 'JSON text, not a file of weights'],
])('another format under this name: %j', async (text, what) => {
  expect(await refusalOf(Buffer.from(text, 'latin1'))).toBe(`FILE is ${what}`);
});

describe('the frame', () => {
  test.each([0, 1, 7])('%i bytes', async (length) => {
    expect(await refusalOf(new Uint8Array(length))).toBe(
      `FILE has ${length} bytes, too few for a safetensors file`,
    );
  });

  test.each([100_000_001n, 2n ** 63n, 2n ** 64n - 1n])('a header of %d bytes', async (length) => {
    const bytes = new Uint8Array(64);
    new DataView(bytes.buffer).setBigUint64(0, length, true);
    expect(await refusalOf(bytes)).toBe(
      `FILE is no safetensors file: its first 8 bytes announce a header of ${length} bytes, over the limit of 100000000`,
    );
  });

  test.each([57, 100_000_000])('a header of %i bytes in a file with room for 56', async (length) => {
    const bytes = new Uint8Array(64);
    new DataView(bytes.buffer).setBigUint64(0, BigInt(length), true);
    expect(await refusalOf(bytes)).toBe(
      `FILE is cut short: its header should have ${length} bytes, but the file ends after 56 of them`,
    );
  });

  test('a valid file cut at every byte', async () => {
    const bytes = fileBytes(`{"__metadata__":{"k":"v"},"a":${good}}`, 8);
    expect(await refusalOf(bytes)).toBeUndefined();
    for (let length = 0; length < bytes.length; length++) {
      expect(await refusalOf(bytes.subarray(0, length)), `${length} bytes`).toBeTypeOf('string');
    }
  });

  test('random damage is refused or read, never a crash', async () => {
    const names = ['a', 'bb', 'ccc', '__metadata__'];
    const valid = fileBytes(
      `{"__metadata__":{"k":"v"},"a":${good},"bb":${entry('I64', [], [8, 16])},"ccc":${entry('U8', [3, 0], [16, 16])}}`,
      16,
    );
    expect(await refusalOf(valid)).toBeUndefined();
    const flips = fc.array(fc.tuple(fc.nat(valid.length - 17), fc.integer({ min: 0, max: 255 })), {
      minLength: 1,
      maxLength: 3,
    });
    let refused = 0;
    await fc.assert(
      fc.asyncProperty(flips, async (changes) => {
        const bytes = valid.slice();
        for (const [position, byte] of changes) bytes[position] = byte;
        if ((await refusalOf(bytes)) !== undefined) refused++;
      }),
      { numRuns: 1500 },
    );
    expect(refused).toBeGreaterThan(names.length);
  });
});

const cases: [string, string | Uint8Array, string][] = [
  ['no header', '', 'FILE: the header does not begin with "{"'],
  ['a space first', ` {"a":${good}}`, 'FILE: the header does not begin with "{"'],
  ['an array', '[]', 'FILE: the header does not begin with "{"'],
  ['a byte order mark', '\ufeff{}', 'FILE: the header does not begin with "{"'],
  ['bytes that are not UTF-8', Uint8Array.of(0x7b, 0xff, 0x7d), 'FILE: the header is not UTF-8 text'],
  [
    'half of a surrogate pair',
    `{"\\ud800":${good}}`,
    'FILE: the header holds half of a surrogate pair in "\\ud800"',
  ],
  ['a tensor twice', `{"a":${good},"a":${good}}`, 'FILE: the header has the key "a" twice'],
  ['the same under an escape', `{"a":${good},"\\u0061":${good}}`, 'FILE: the header has the key "a" twice'],
  [
    'a field twice',
    `{"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}}`,
    'FILE: the header has the key "dtype" twice in "a"',
  ],
  [
    'the metadata twice',
    `{"__metadata__":{},"__metadata__":{},"a":${good}}`,
    'FILE: the header has the key "__metadata__" twice',
  ],
  [
    'a metadata key twice',
    `{"__metadata__":{"k":"v","k" :"v"},"a":${good}}`,
    'FILE: the header has the key "k" twice in "__metadata__"',
  ],
  [
    'a fraction',
    '{"a":{"dtype":"F32","shape":[2.0],"data_offsets":[0,8]}}',
    'FILE: the header holds the number 2.0 where only plain integers may be',
  ],
  [
    'an exponent',
    '{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8e0]}}',
    'FILE: the header holds the number 8e0 where only plain integers may be',
  ],
  [
    'minus zero',
    '{"a":{"dtype":"F32","shape":[2],"data_offsets":[-0,8]}}',
    'FILE: the header holds the number -0 where only plain integers may be',
  ],
  ['nesting', `{"a":${'['.repeat(200)}${']'.repeat(200)}}`, 'FILE: the header nests more than 100 deep'],
  ['metadata null', `{"__metadata__":null,"a":${good}}`, 'FILE: __metadata__ is not an object of strings'],
  ['metadata a list', `{"__metadata__":[],"a":${good}}`, 'FILE: __metadata__ is not an object of strings'],
  [
    'metadata with a number',
    `{"__metadata__":{"k":1},"a":${good}}`,
    'FILE: __metadata__ has "k", which is not a string',
  ],
  ['an entry null', '{"a":null}', 'FILE: tensor "a" has an entry that is not an object'],
  ['an entry a list', '{"a":["F32",[2],[0,8]]}', 'FILE: tensor "a" has an entry that is not an object'],
  ['no dtype', '{"a":{"shape":[2],"data_offsets":[0,8]}}', 'FILE: tensor "a" has no dtype'],
  ['no shape', '{"a":{"dtype":"F32","data_offsets":[0,8]}}', 'FILE: tensor "a" has no shape'],
  ['no data_offsets', '{"a":{"dtype":"F32","shape":[2]}}', 'FILE: tensor "a" has no data_offsets'],
  [
    'an unknown field',
    `{"a":${good.replace('{', '{"strides":[1],')}}`,
    'FILE: tensor "a" has an unknown field "strides"',
  ],
  [
    'an unknown dtype',
    `{"a":${entry('f32', [2], [0, 8])}}`,
    'FILE: tensor "a" has the unknown dtype "f32"; supported are F64, F32, F16, BF16, I64, I32, I16, I8, U64, U32, U16, U8, BOOL',
  ],
  [
    'a dtype every object has',
    `{"a":${entry('constructor', [2], [0, 8])}}`,
    'FILE: tensor "a" has the unknown dtype "constructor"; supported are F64, F32, F16, BF16, I64, I32, I16, I8, U64, U32, U16, U8, BOOL',
  ],
  [
    'a dtype not read here',
    `{"a":${entry('F8_E4M3', [8], [0, 8])}}`,
    'FILE: tensor "a" has the unsupported dtype "F8_E4M3"; supported are F64, F32, F16, BF16, I64, I32, I16, I8, U64, U32, U16, U8, BOOL',
  ],
  ...([2, null, '2', [-2], ['2'], [null], [2 ** 53], { 0: 2 }] as unknown[]).map(
    (shape): [string, string, string] => [
      `shape ${JSON.stringify(shape)}`,
      `{"a":${entry('F32', shape, [0, 8])}}`,
      `FILE: tensor "a" has shape ${JSON.stringify(shape)}, not a list of non-negative integers`,
    ],
  ),
  ...[[2 ** 32, 2 ** 32], [2 ** 32, 2 ** 32, 0], [2 ** 51], Array<number>(200).fill(1000)].map(
    (shape): [string, string, string] => [
      `shape ${JSON.stringify(shape).slice(0, 50)}`,
      `{"a":${entry('F32', shape, [0, 8])}}`,
      `FILE: tensor "a" has shape [${shape.join(', ')}], too large to count its bytes`,
    ],
  ),
  ...([8, null, [8], [0, 8, 8], [-8, 0], ['0', '8'], [0, 2 ** 53]] as unknown[]).map(
    (offsets): [string, string, string] => [
      `data_offsets ${JSON.stringify(offsets)}`,
      `{"a":${entry('F32', [2], offsets)}}`,
      `FILE: tensor "a" has data_offsets ${JSON.stringify(offsets)}, not two non-negative integers`,
    ],
  ),
  [
    'offsets backwards',
    `{"a":${entry('F32', [2], [8, 0])}}`,
    'FILE: tensor "a" has data_offsets [8, 0], which end before they begin',
  ],
  [
    'offsets past the end',
    `{"a":${entry('F32', [2], [1, 9])}}`,
    'FILE: tensor "a" has data_offsets [1, 9], which reach beyond the file\'s 8 bytes of data',
  ],
  [
    'offsets that do not fit the shape',
    `{"a":${entry('F32', [3, 1], [0, 8])}}`,
    'FILE: tensor "a" has data_offsets [0, 8], which span 8 bytes, but F32 [3, 1] takes 12',
  ],
  [
    'an overlap',
    `{"a":${entry('U8', [5], [0, 5])},"b":${entry('U8', [4], [4, 8])}}`,
    'FILE: tensor "b" has data_offsets [4, 8], which begin before those of "a" end at 5',
  ],
  [
    'one inside the other',
    `{"b":${entry('U8', [2], [3, 5])},"a":${entry('U8', [8], [0, 8])}}`,
    'FILE: tensor "b" has data_offsets [3, 5], which begin before those of "a" end at 8',
  ],
  [
    'an empty tensor inside another',
    `{"b":${entry('U8', [0], [3, 3])},"a":${entry('U8', [8], [0, 8])}}`,
    'FILE: tensor "b" has data_offsets [3, 3], which begin before those of "a" end at 8',
  ],
  [
    'a hole',
    `{"b":${entry('U8', [3], [5, 8])},"a":${entry('U8', [4], [0, 4])}}`,
    'FILE: the data bytes from 4 to 5 belong to no tensor; the next is "b"',
  ],
  [
    'a hole at the start',
    `{"a":${entry('F32', [1], [4, 8])}}`,
    'FILE: the data bytes from 0 to 4 belong to no tensor; the next is "a"',
  ],
  [
    'bytes left over',
    `{"a":${entry('F32', [1], [0, 4])}}`,
    'FILE: the last data bytes, from 4 to 8, belong to no tensor',
  ],
  ['nothing but data', '{}', 'FILE: the last data bytes, from 0 to 8, belong to no tensor'],
];

test.each(cases)('%s', async (_, header, message) => {
  expect(await refusalOf(fileBytes(header, 8))).toBe(message);
});

test.each(['{', '{"a"}', `{"a":${good},}`, `{"a":${good}}x`, `{"a":${good}}\0`, "{'a':1}"])(
  'not JSON: %j',
  async (header) => {
    expect(await refusalOf(fileBytes(header, 8))).toMatch(/^FILE: the header is not JSON: .*[^.]$/);
  },
);

test('each case is its own', () => {
  expect(new Set(cases.map(([name]) => name)).size).toBe(cases.length);
});

describe('against the Python library', () => {
  const verdicts = JSON.parse(
    readFileSync(join(import.meta.dirname, '../golden/safetensors/verdicts.json'), 'utf8'),
  ) as { header: string; refused: string | null }[];
  // The Python library reads these. Here they are refused: what they mean is in doubt, or cannot be read.
  const stricter = [
    ` {"a":${good}}`,
    `{"a":${good},"a":${good}}`,
    `{"a":${good.replace('}', ',"extra":1}')}}`,
    `{"__metadata__":null,"a":${good}}`,
    `{"__metadata__":{"k":"v","k":"w"},"a":${good}}`,
    '{"a":["F32",[2],[0,8]]}',
    `{"a":${entry('F8_E4M3', [8], [0, 8])}}`,
    `{"a":${entry('C64', [1], [0, 8])}}`,
  ];

  test.each(verdicts)('$header', async ({ header, refused }) => {
    const expected = refused !== null || stricter.includes(header);
    expect((await refusalOf(fileBytes(header, 8))) !== undefined).toBe(expected);
  });

  // 600 files damaged by chance, with the library's verdicts (make_safetensors.py).
  const damaged = JSON.parse(
    readFileSync(join(import.meta.dirname, '../golden/safetensors/damaged.json'), 'utf8'),
  ) as { file: string; accepted: boolean }[];
  const onlyHere = /has an unknown field/;

  test('what the library refuses of damaged files is refused; what it takes is taken but for unknown fields', async () => {
    for (const { file, accepted } of damaged) {
      const bytes = Buffer.from(file, 'base64');
      const refused = await refusalOf(bytes);
      if (accepted) expect(refused ?? 'has an unknown field', bytes.toString('latin1')).toMatch(onlyHere);
      else expect(refused, bytes.toString('latin1')).toBeDefined();
    }
    const taken = damaged.filter(({ accepted }) => accepted).length;
    expect(taken).toBeGreaterThan(100);
    expect(taken).toBeLessThan(500);
  });

  test('the exceptions are among them', () => {
    const accepted = verdicts.filter(({ refused }) => refused === null).map(({ header }) => header);
    expect(accepted).toEqual(expect.arrayContaining(stricter));
  });
});
