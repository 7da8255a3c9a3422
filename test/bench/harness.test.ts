import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { measureGroup, median, interleave, pairedRatio, range, type BenchCase } from '../../bench/harness.ts';
import { peerKinds, startPeer } from '../../bench/peers/peer.ts';
import { plot } from '../../bench/plot.ts';
import { largestDifference, markdown, measurementRow, overheadRows, short } from '../../bench/report.ts';
import { fill, inputRecipe, poolLength, weightRecipe } from '../../bench/weights.ts';
import { UserError } from '../../src/errors.ts';

const values = fc.array(fc.double({ min: 0.1, max: 1e6, noNaN: true }), { minLength: 1, maxLength: 20 });

describe('statistics', () => {
  it('median: at most half the values below, at most half above, whatever the order', () => {
    expect(median([3, 1, 2])).toBe(2);
    expect(median([4, 1, 2, 3])).toBe(2.5);
    fc.assert(
      fc.property(values, (xs) => {
        const m = median(xs);
        const below = xs.filter((x) => x < m).length;
        const above = xs.filter((x) => x > m).length;
        expect(Math.max(below, above)).toBeLessThanOrEqual(xs.length / 2);
      }),
      { examples: [[[1, 2, 3]], [[1, 1, 2]]] },
    );
  });

  it('range holds the median', () => {
    fc.assert(
      fc.property(values, (xs) => {
        const [low, high] = range(xs);
        expect(low).toBeLessThanOrEqual(median(xs));
        expect(high).toBeGreaterThanOrEqual(median(xs));
        expect(xs).toContain(low);
        expect(xs).toContain(high);
      }),
    );
  });

  it('a paired ratio does not see a load that slows whole rounds', () => {
    // medians alone would say 20 / 30
    expect(pairedRatio([20, 200, 10], [10, 100, 5])).toBe(2);
    expect(() => pairedRatio([1], [1, 2])).toThrow('1 rounds cannot be paired with 2');
  });
});

/** A case that records what is done to it and reports the times it is given. */
function fakeCase(name: string, times: number[], happened: string[], failure?: Error): BenchCase {
  return {
    name,
    group: 'g',
    runner: 'r',
    work: { flops: 1e9 },
    prepare: () => {
      happened.push(`prepare ${name}`);
      return failure ? Promise.reject(failure) : Promise.resolve();
    },
    run: () => {
      happened.push(`run ${name}`);
      return Promise.resolve({ digest: [1], milliseconds: times.shift()! });
    },
    dispose: () => void happened.push(`dispose ${name}`),
  };
}

describe('measureGroup', () => {
  it('interleaves: A B C A B C', async () => {
    expect(interleave(['A', 'B', 'C'], 2).join('')).toBe('ABCABC');
    const happened: string[] = [];
    const cases = [fakeCase('A', [99, 1000, 3000], happened), fakeCase('B', [99, 2000, 4000], happened)];
    const { measurements } = await measureGroup(cases, { rounds: 2, restMilliseconds: 0 });
    expect(happened).toEqual([
      'prepare A',
      'run A',
      'prepare B',
      'run B',
      'run A',
      'run B',
      'run A',
      'run B',
      'dispose A',
      'dispose B',
    ]);
    // the warm-up's 99 ms are not among them
    expect(measurements.map((m) => m.milliseconds)).toEqual([
      [1000, 3000],
      [2000, 4000],
    ]);
  });

  it('repeats a short run until a sample is long enough, and reports the time of one', async () => {
    const happened: string[] = [];
    const item = fakeCase('A', [10, 4, 5, 6], happened);
    const { measurements } = await measureGroup([item], {
      rounds: 1,
      sampleMilliseconds: 30,
      restMilliseconds: 0,
    });
    expect(measurements[0].milliseconds).toEqual([5]);
  });

  it('skips what does not fit with its reason, and disposes it', async () => {
    const happened: string[] = [];
    const cases = [
      fakeCase('A', [], happened, new UserError('too large')),
      fakeCase('B', [100, 100], happened),
    ];
    const { measurements, skipped } = await measureGroup(cases, { rounds: 1, restMilliseconds: 0 });
    expect(skipped).toEqual([{ name: 'A', runner: 'r', reason: 'too large' }]);
    expect(measurements.map(({ name }) => name)).toEqual(['B']);
    expect(happened).toContain('dispose A');
  });

  it('skips a runner that computes something else, unless the result is not compared', async () => {
    const [right, near, wrong, unlike] = [1, 1.0001, 1.01, 7].map((value, i): BenchCase => {
      const item = fakeCase('A', [100, 100], []);
      return {
        ...item,
        runner: `r${i}`,
        unchecked: value === 7,
        run: () => Promise.resolve({ digest: [value], milliseconds: 100 }),
      };
    });
    const options = { rounds: 1, restMilliseconds: 0 };
    const { measurements, skipped } = await measureGroup([right, near, wrong, unlike], options);
    expect(measurements.map(({ runner }) => runner)).toEqual(['r0', 'r1', 'r3']);
    expect(skipped.map(({ runner }) => runner)).toEqual(['r2']);
    expect(skipped[0].reason).toBe(
      "its result lies 1.0e-2 of the largest value from r0's, more than 0.001: it computes something else",
    );
  });

  it('lets a bug through', async () => {
    const broken = fakeCase('A', [], [], new TypeError('bug'));
    await expect(measureGroup([broken], { rounds: 1 })).rejects.toThrow('bug');
  });
});

describe('weights', () => {
  it('are of the right scale, never all alike, and the same each time', () => {
    const matrix = fill(weightRecipe('q_proj.weight', [256, 64]));
    const square = matrix.reduce((sum, x) => sum + x * x, 0) / matrix.length;
    expect(Math.sqrt(square)).toBeCloseTo(1 / 8, 2);
    const gain = fill(weightRecipe('norm.weight', [4096]));
    expect(gain.reduce((sum, x) => sum + x, 0) / gain.length).toBeCloseTo(1, 1);
    expect(fill(weightRecipe('q_proj.bias', [64]))).not.toContain(0);
    expect(fill(weightRecipe('q_proj.weight', [256, 64]))).toEqual(matrix);
  });

  it('go round the pool', () => {
    const recipe = { ...inputRecipe('x', [4]), offset: poolLength - 2 };
    const start = fill({ ...recipe, offset: 0 });
    expect(Array.from(fill(recipe).subarray(2))).toEqual(Array.from(start.subarray(0, 2)));
  });
});

const measurement = {
  name: 'encode',
  group: 'vision: x',
  runner: 'wasm',
  work: { flops: 3e9 },
  milliseconds: [90, 100, 130],
  peakBytes: 2 ** 30,
  cacheBytes: 5 * 2 ** 20,
  digest: [1, 2],
};

// half as busy in the second round: 120, 240 and 80 GFLOP/s, of which 33.3, 30 and 23.1 are 28, 12.5 and 29 %
const floor = {
  ...measurement,
  name: 'matmul',
  floor: true,
  work: { flops: 12e9 },
  milliseconds: [100, 50, 150],
};

const machine = {
  cpu: 'a processor',
  cores: 2,
  memoryGiB: 8,
  node: 'v20',
  commit: 'abc',
  date: 'today',
  loadBefore: 0,
  runners: {},
};

describe('report', () => {
  it('a row: median, range, work, rate, share of the floor', () => {
    const row = measurementRow(measurement, [measurement, floor]);
    expect(row).toEqual([
      'encode',
      'wasm',
      '100',
      '90.0–130',
      '3.00 GFLOP',
      '30.0 GFLOP/s',
      '28 %',
      '',
      '5.0',
      '1024',
    ]);
  });

  it('numbers keep three digits', () => {
    expect([1234.5, 99.94, 9.876, 0.1234].map(short)).toEqual(['1235', '99.9', '9.88', '0.12']);
  });

  it('compares the runners of one case', () => {
    const other = { ...measurement, runner: 'torch', digest: [1, 2.002] };
    expect(largestDifference([measurement])).toBeUndefined();
    expect(largestDifference([measurement, other])?.value).toBeCloseTo(0.001, 5);
    // the same prompt through another depth of layers is another result
    expect(largestDifference([measurement, { ...other, group: 'deeper' }])).toBeUndefined();
  });

  it('an overhead is the ratio of each round, and its range', () => {
    const over = { ...measurement, name: 'encode + rows', over: 'encode', milliseconds: [99, 101, 117] };
    const elsewhere = { ...over, runner: 'torch' }; // nothing to compare with
    expect(overheadRows([measurement, over, elsewhere])).toEqual([
      ['encode + rows', 'wasm', '+1.0 %', '−10.0 % to +10.0 %'],
    ]);
  });

  it('says once why several cases were skipped', () => {
    const skipped = ['a', 'b'].map((name) => ({ name, runner: 'wasm', reason: 'too large' }));
    const rates = { flops: 1, bytes: 1 };
    const text = markdown({ machine, rates, rounds: 1, measurements: [], skipped, targets: [] });
    expect(text).toContain('- a, b · wasm: too large');
  });

  it('plots the share of the floor and the prefill', async () => {
    const prefill = { ...measurement, name: 'prefill 64 + 64 tokens', runner: 'tensorflow' };
    const rates = { flops: 120e9, bytes: 1e9 };
    const svg = await plot({
      machine,
      rates,
      rounds: 3,
      measurements: [floor, measurement, prefill],
      skipped: [],
      targets: [],
    });
    expect(svg).toMatch(/^<svg/);
    for (const text of ['a processor', 'encode', 'visual tokens kept, U', 'tensorflow'])
      expect(svg).toContain(text);
    expect(svg).not.toContain('NaN');
  });
});

it.each(peerKinds)('a Python without $title is a reason, not a crash', async (kind) => {
  const dir = await mkdtemp(path.join(tmpdir(), 'vtc-bench-test-'));
  const before = process.env['VTC_PYTHON'];
  process.env['VTC_PYTHON'] = path.join(dir, 'no-python');
  try {
    await expect(startPeer(kind, path.join(dir, 'pool'))).rejects.toThrow(
      new RegExp(`^no ${kind.title} to compare with .*no-python does not start.*VTC_PYTHON$`),
    );
  } finally {
    if (before === undefined) delete process.env['VTC_PYTHON'];
    else process.env['VTC_PYTHON'] = before;
    await rm(dir, { recursive: true });
  }
});
