import { expect, test, vi } from 'vitest';
import { UserError } from '../../src/errors.ts';

// As after `npm install --no-optional`, which leaves sharp without its binary.
vi.mock('sharp', () => {
  throw new Error('Could not load the "sharp" module\nPossible solutions: …');
});

test('without its binary all rooms load, and a picture is refused in one sentence', async () => {
  const { decodeImageBytes, encodePng } = await import('../../src/node.ts');
  await import('../../src/cli/run.ts');
  await import('../../src/report/labels.ts');
  const png = Buffer.from('\x89PNG\r\n\x1a\n', 'latin1');
  const picture = { width: 1, height: 1, data: new Uint8Array(3) };
  for (const action of [() => decodeImageBytes(png, 'cat.png'), () => encodePng(picture, 'cat.png')]) {
    await expect(action).rejects.toThrow(UserError);
    await expect(action).rejects.toThrow(
      /^pictures cannot be read or written: sharp has no binary for \S+ here; npm install --include=optional sharp brings it$/,
    );
  }
});
