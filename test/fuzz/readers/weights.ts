/** Safetensors files and indices: bytes, lengths, fields of the header, the sizes that they announce. */
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { openWeights } from '../../../src/node/checkpoint.ts';
import { pick, type Random } from '../../../src/random.ts';
import type { Fuzz } from '../fuzz.ts';
import { mutateBytes, mutateJson } from '../mutate.ts';

/** A good header of a few tensors, and how many bytes they have. */
function drawHeader(random: Random): { header: Record<string, unknown>; bytes: number } {
  const header: Record<string, unknown> = random() < 0.5 ? { __metadata__: { format: 'pt' } } : {};
  let at = 0;
  for (let i = Math.floor(random() * 4); i >= 0; i--) {
    const [dtype, width] = pick(random, [['F32', 4], ['F16', 2], ['BF16', 2], ['I64', 8], ['U8', 1], ['F64', 8], ['BOOL', 1]] as const); // prettier-ignore
    const shape = Array.from({ length: Math.floor(random() * 3) }, () => Math.floor(random() * 4));
    const end = at + width * shape.reduce((product, n) => product * n, 1);
    header[`layer.${i}`] = { dtype, shape, data_offsets: [at, end] };
    at = end;
  }
  return { header, bytes: at };
}

function encode(header: string, bytes: number, length = Buffer.byteLength(header)): Buffer {
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(BigInt.asUintN(64, BigInt(length)));
  return Buffer.concat([prefix, Buffer.from(header), Buffer.alloc(bytes, 7)]);
}

/** Opens all, and reads every tensor. */
async function readAll(folder: string): Promise<void> {
  const weights = await openWeights(folder);
  try {
    for (const [name, { dtype }] of weights.tensors) {
      await weights.readRaw(name);
      if (/F/.test(dtype)) await weights.readFloat32(name);
    }
  } finally {
    await weights.close();
  }
}

export const weights: Fuzz = {
  prepare: (folder) => {
    const file = path.join(folder, 'model.safetensors');
    return Promise.resolve(async (random) => {
      const { header, bytes } = drawHeader(random);
      const text = JSON.stringify(header);
      const [what, content] = pick<() => [string, Buffer]>(random, [
        () => ['a good one', encode(text, bytes)],
        () => ['bytes', mutateBytes(random, encode(text, bytes))],
        () => ['a field', encode(JSON.stringify(mutateJson(random, header)), bytes)],
        () => ['the header as text', encode(mutateBytes(random, Buffer.from(text)).toString('latin1'), bytes)],
        () => ['its length', encode(text, bytes, pick(random, [0, 1, text.length - 1, text.length + 1, 1e8, 1e8 + 1, 2 ** 53, -1]))],
        () => ['bytes of data', encode(text, Math.max(0, bytes + pick(random, [-9, -1, 1, 9])))],
        () => ['nesting', encode('{"a":'.repeat(1 + Math.floor(random() * 5000)), bytes)],
      ])(); // prettier-ignore
      await writeFile(file, content);
      return { what: `${what}: ${content.subarray(0, 120).toString('latin1')}`, run: () => readAll(folder) };
    });
  },
};
