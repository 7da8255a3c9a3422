import { expect, test } from 'vitest';
import { depthsOf } from '../../src/eval/run/costs.ts';

test('how deep pictures go is told where questions differ in it, whatever their lengths', () => {
  const prompts = [
    { layers: [109, 109, 9, 9], questions: 3 },
    { layers: [110, 110, 110, 10], questions: 4 },
    { layers: [108, 108, 8, 8], questions: 1 },
    { layers: [110, 110, 110, 110], questions: 2 },
  ];
  expect(depthsOf(prompts)).toEqual([0, 0.4, 0.4, 0.2]);
  expect(depthsOf(prompts.filter((_, i) => i % 2 === 0))).toBeUndefined(); // all after two
  expect(depthsOf([{ layers: [34, 34], questions: 7 }])).toBeUndefined();
});
