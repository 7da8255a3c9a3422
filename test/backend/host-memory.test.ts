import { totalmem } from 'node:os';
import { beforeAll, describe, expect, test, vi } from 'vitest';
import { UserError } from '../../src/errors.ts';
import { startBackend } from '../../src/backend/start.ts';
import { hostBytes, requireHostMemory, describeOutOfMemory } from '../../src/backend/host-memory.ts';

const GiB = 1024 ** 3;
beforeAll(() => startBackend('cpu'));

test.each([
  ['no limit', 0, totalmem()],
  ['one beyond the machine', 2 ** 63, totalmem()],
  ["a container's", 3 * GiB, 3 * GiB],
])('what the process can have, with %s', (_, limit, expected) => {
  const spy = vi.spyOn(process, 'constrainedMemory').mockReturnValue(limit);
  expect(hostBytes()).toBe(expected);
  spy.mockRestore();
});

describe('requireHostMemory', () => {
  test('a model that fits, to the byte, is taken', () => {
    expect(() => requireHostMemory({ matrices: [GiB, GiB], others: GiB }, 'DIR', 4 * GiB)).not.toThrow();
  });
  test('one byte more is refused with the numbers', () => {
    expect(() => requireHostMemory({ matrices: [GiB, GiB], others: GiB + 1 }, 'DIR', 4 * GiB)).toThrow(
      new UserError(
        'DIR needs about 4.00 GiB (3.00 GiB of float32 weights), but this process can have 4.00 GiB of memory',
      ),
    );
  });
});

test.each([
  [
    new Error(
      'Invalid TF_Status: 8\nMessage: OOM when allocating tensor with shape[99999,99999,99] and type float',
    ),
    /^TensorFlow ran out of memory at a tensor of \[99999,99999,99\]: this process can have \d+\.\d\d GiB$/,
  ],
  [new Error('Invalid TF_Status: 8\nMessage: failed to allocate memory'), /^TensorFlow ran out of memory: /],
  [new RangeError('Array buffer allocation failed'), /^memory ran out \(Array buffer allocation failed\): /],
])('%s', (error, told) => {
  expect(describeOutOfMemory(error)).toMatch(told);
});

test.each([
  new Error('Invalid TF_Status: 3\nMessage: bad shape'),
  new RangeError('Invalid array length'),
  'x',
])('other errors are none of memory: %s', (error) => {
  expect(describeOutOfMemory(error)).toBeUndefined();
});
