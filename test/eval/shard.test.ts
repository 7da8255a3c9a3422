import fc from 'fast-check';
import { expect, test } from 'vitest';
import { costOf, joinPrompts } from '../../src/eval/run/costs.ts';
import { checkShard, parseShard, shardPictures, shardQuestions } from '../../src/eval/shards/shard.ts';
import type { Task } from '../../src/eval/task/task.ts';
import { tinyLlamaConfig } from '../support/tiny.ts';

const taskOf = (pictures: number, places: number[]): Task => ({
  name: 't',
  scoring: 'exact',
  pictures: Array.from({ length: pictures }, (_, i) => ({
    id: `${i}`,
    read: () => Promise.reject(new Error('')),
  })),
  questions: places.map((picture, i) => ({ id: `${i}`, picture, question: '?', answer: 'x', type: 't' })),
});

test('the shards have every picture once, in order, in parts that differ by one at most', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 12 }), fc.integer({ min: 0, max: 50 }), (count, more) => {
      const pictures = count + more;
      const parts = Array.from({ length: count }, (_, i) =>
        shardPictures({ number: i + 1, count }, pictures),
      );
      expect(parts.flat()).toEqual([...Array(pictures).keys()]);
      const sizes = parts.map(({ length }) => length);
      expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThanOrEqual(1);
    }),
  );
});

test('a question goes with its picture', () => {
  const task = taskOf(4, [3, 0, 1, 3, 2]);
  const of = (number: number) => shardQuestions({ number, count: 2 }, task);
  expect([of(1), of(2)]).toEqual([
    [1, 2],
    [0, 3, 4],
  ]);
  expect(() => checkShard({ number: 1, count: 5 }, task)).toThrow('--shard 1/5: there are only 4 pictures');
});

test('a shard is i/n', () => {
  expect(parseShard('2/4')).toEqual({ number: 2, count: 4 });
  for (const text of ['5/4', '0/4', '1', '1/', '1/0', '1/2/3', 'a/b', '-1/2'])
    expect(parseShard(text), text).toBe(undefined);
});

test('costs are the same to the last bit in whatever parts they were counted', () => {
  const config = tinyLlamaConfig;
  const layers = Array.from({ length: config.num_hidden_layers }, () => fc.integer({ min: 1, max: 4000 }));
  const counts = fc.array(
    fc.record({ layers: fc.tuple(...layers), questions: fc.integer({ min: 1, max: 64 }) }),
    {
      minLength: 1,
    },
  );
  fc.assert(
    fc.property(counts, fc.nat(), (parts, cut) => {
      const at = cut % parts.length;
      const turned = [...joinPrompts(parts.slice(at)), ...joinPrompts(parts.slice(0, at))];
      expect(joinPrompts(turned)).toEqual(joinPrompts(parts));
      expect(costOf(config, joinPrompts(turned))).toEqual(costOf(config, joinPrompts(parts)));
    }),
  );
});
