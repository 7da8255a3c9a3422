/** Pictures in a terminal: every character is two pixels of the right colours. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Picture } from '../../src/image/picture.ts';
import { colourDepth, paintPictures, shadePicture } from '../../src/report/terminal.ts';

const pictures = fc
  .record({ side: fc.integer({ min: 1, max: 6 }), seed: fc.infiniteStream(fc.nat(255)) })
  .map(({ side, seed }): Picture => ({
    width: 2 * side,
    height: 2 * side,
    data: Uint8Array.from({ length: 12 * side ** 2 }, () => seed.next().value as number),
  }));

/** The colours of a painted picture, upper and lower of each character. */
const colours = (line: string) =>
  [...line.matchAll(/\u001b\[38;2;(\d+);(\d+);(\d+);48;2;(\d+);(\d+);(\d+)m▀/g)].map((cell) =>
    cell.slice(1).map(Number),
  );

test('in true colour a picture of the terminal’s size is shown pixel by pixel', () => {
  fc.assert(
    fc.property(pictures, (picture) => {
      const lines = paintPictures([picture, picture], picture.width, 24).split('\n');
      expect(lines).toHaveLength(picture.height / 2);
      for (const [row, line] of lines.entries()) {
        const at = (x: number, y: number) => [
          ...picture.data.subarray(3 * (y * picture.width + x), 3 * (y * picture.width + x) + 3),
        ];
        const cells = Array.from({ length: picture.width }, (_, x) => [
          ...at(x, 2 * row),
          ...at(x, 2 * row + 1),
        ]);
        expect(colours(line)).toEqual([...cells, ...cells]);
        expect(line.endsWith('\u001b[0m')).toBe(true); // what follows has its own colours
      }
    }),
  );
});

test('with 256 colours each is the nearest of a cube; a larger picture is made smaller', () => {
  const red: Picture = {
    width: 8,
    height: 8,
    data: Uint8Array.from({ length: 192 }, (_, i) => (i % 3 ? 0 : 255)),
  };
  expect(paintPictures([red], 2, 8)).toBe(`${'\u001b[38;5;196;48;5;196m▀'.repeat(2)}\u001b[0m`);
});

test('without colours the darkest is blank and the brightest @, two characters a patch', () => {
  const data = [0, 128, 255, 20].flatMap((x) => [x, x, x]);
  expect(shadePicture({ width: 2, height: 2, data: Uint8Array.from(data) }, 2)).toBe('  ++\n@@..');
});

test('what is no terminal has colours only where FORCE_COLOR says so', () => {
  const stream = { isTTY: false } as NodeJS.WriteStream;
  const { FORCE_COLOR: before } = process.env;
  delete process.env['FORCE_COLOR'];
  expect(colourDepth(stream)).toBe(1);
  process.env['FORCE_COLOR'] = '3';
  expect(colourDepth(stream)).toBe(24);
  if (before === undefined) delete process.env['FORCE_COLOR'];
  else process.env['FORCE_COLOR'] = before;
});
