import { expect, test } from 'vitest';
import { drawBoxes } from '../../src/report/boxes.ts';
import { blank } from '../../src/report/canvas.ts';

const grey = { ...blank(80, 40), data: new Uint8Array(80 * 40 * 3).fill(90) };
const at = ({ width, data }: { width: number; data: Uint8Array }, x: number, y: number) =>
  data[3 * (y * width + x)];

test('a box is a white, a black and a white line around what it means, which stays as it is', () => {
  const drawn = drawBoxes(grey, [[0.25, 0.25, 0.5, 0.75]]); // 3 times as large: x 60 .. 120, y 30 .. 90
  expect([drawn.width, drawn.height]).toEqual([240, 120]);
  const row = Array.from({ length: 68 }, (_, x) => at(drawn, x, 60));
  expect(row.slice(55, 62)).toEqual([90, 90, 255, 0, 255, 90, 90]);
  expect([118, 119, 120, 121, 122, 123].map((x) => at(drawn, x, 60))).toEqual([90, 90, 255, 0, 255, 90]);
  expect([26, 27, 28, 29, 30].map((y) => at(drawn, 90, y))).toEqual([90, 255, 0, 255, 90]);
  expect([89, 90, 91, 92, 93].map((y) => at(drawn, 90, y))).toEqual([90, 255, 0, 255, 90]);
});

test('no box changes nothing', () => {
  expect(new Set(drawBoxes(grey, []).data)).toEqual(new Set([90]));
});
