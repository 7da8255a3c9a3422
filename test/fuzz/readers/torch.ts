/** PyTorch's files: bytes of the zip, of its directory and of the pickle in it. */
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { openTorchFile } from '../../../src/io/torch-file.ts';
import { openFile } from '../../../src/node/folder.ts';
import { pick } from '../../../src/random.ts';
import { golden } from '../../support/golden.ts';
import type { Fuzz } from '../fuzz.ts';
import { mutateBytes } from '../mutate.ts';

async function readAll(file: string): Promise<void> {
  const weights = await openTorchFile(await openFile(file));
  try {
    for (const name of weights.tensors.keys()) await weights.readRaw(name);
  } finally {
    await weights.close();
  }
}

export const torch: Fuzz = {
  prepare: async (folder) => {
    const good = await readFile(path.join(golden('convert'), 'clip', 'pytorch_model.bin'));
    const directory = good.lastIndexOf(Buffer.from('PK\x01\x02')) - 3000;
    const pickle = {
      begin: good.indexOf(Buffer.from([0x80, 2])),
      end: good.indexOf(Buffer.from('PK\x03\x04'), 60),
    };
    const file = path.join(folder, 'pytorch_model.bin');
    /** The same length, so that the zip around it stays whole. */
    const within = (bytes: Buffer, from: number, to: number) => {
      const piece = Buffer.alloc(to - from);
      bytes.copy(piece);
      return Buffer.concat([good.subarray(0, from), piece, good.subarray(to)]);
    };
    return async (random) => {
      const [what, content] = pick<() => [string, Buffer]>(random, [
        () => ['a good one', good],
        () => ['bytes', mutateBytes(random, good)],
        () => [
          'the pickle',
          within(mutateBytes(random, good.subarray(pickle.begin, pickle.end)), pickle.begin, pickle.end),
        ],
        () => [
          'the directory',
          within(mutateBytes(random, good.subarray(directory)), directory, good.length),
        ],
        () => ['the end', good.subarray(0, good.length - Math.floor(random() * 200))],
      ])();
      await writeFile(file, content);
      return { what: `${what}, ${content.length} bytes`, run: () => readAll(file) };
    };
  },
};
