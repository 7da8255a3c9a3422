import { afterEach, expect, test, vi } from 'vitest';
import { createBar, formatDuration } from '../../src/cli/progress.ts';

afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

test('where there is no terminal, long work tells now and then how much is left', () => {
  vi.useFakeTimers({ now: 0 });
  const said: string[] = [];
  vi.spyOn(console, 'error').mockImplementation((line: string) => void said.push(line));
  const bar = createBar('asked', String, 5);
  const minutes = (n: number) => vi.setSystemTime(n * 60_000);
  bar.update(100, 1000); // of an earlier run
  minutes(4);
  bar.update(140, 1000);
  minutes(6);
  bar.update(160, 1000);
  minutes(7);
  bar.update(170, 1000);
  minutes(60);
  bar.update(700, 1000);
  expect(said).toEqual(['asked 160 of 1000, 1 h 24 min left', 'asked 700 of 1000, 30 min left']);
});

test('other work is quiet there', () => {
  vi.useFakeTimers({ now: 0 });
  const said = vi.spyOn(console, 'error');
  const bar = createBar('loading');
  bar.update(1, 10);
  vi.setSystemTime(3_600_000);
  bar.update(2, 10);
  bar.stop();
  expect(said).not.toHaveBeenCalled();
});

test.each([
  [0.4, '0 s'],
  [59, '59 s'],
  [61, '1 min'],
  [3599, '1 h 0 min'],
  [11_100, '3 h 5 min'],
])('%d seconds are %s', (seconds, words) => {
  expect(formatDuration(seconds)).toBe(words);
});
