import * as tf from '@tensorflow/tfjs-core';
import { expect, test } from 'vitest';
import { axesOf, createTrace, traceAxes, traceKey } from '../../src/tensor/trace.ts';
import { describeEachBackend } from '../support/backends.ts';
import { expectNewTensors } from '../support/random.ts';

test('a layer is two digits of the key, and the key finds its axes', () => {
  expect(traceKey('vision.hidden.LL', 7)).toBe('vision.hidden.07');
  expect(traceKey('vision.hidden.LL', 23)).toBe('vision.hidden.23');
  expect(traceKey('compress.kept')).toBe('compress.kept');
  for (const [name, axes] of Object.entries(traceAxes)) {
    expect(axesOf(name.replace('LL', '07'))).toBe(axes);
    expect(axesOf(name.replace('LL', '107'))).toBe(axes);
  }
  expect(axesOf('vision.hidden')).toBeUndefined();
  expect(axesOf('another.07')).toBeUndefined();
});

describeEachBackend('the trace', () => {
  test('keeps its own copy, whatever becomes of the tensor, until it is disposed', async () => {
    await expectNewTensors(0, 'a trace, used and disposed', () => {
      const trace = createTrace();
      tf.tidy(() => trace.record('compress.scores', tf.tensor2d([[1, 2]])));
      expect(trace.tensors.get('compress.scores')!.arraySync()).toEqual([[1, 2]]);
      trace.dispose();
      expect(trace.tensors.size).toBe(0);
    });
  });

  test('a name is recorded once, with the axes it promises, and only if wanted', () => {
    tf.tidy(() => {
      const trace = createTrace((name) => name !== 'compress.kept');
      const scores = tf.tensor2d([[1, 2]]);
      expect(trace.wants('compress.scores')).toBe(true);
      expect(trace.wants('compress.kept')).toBe(false);
      trace.record('compress.kept', scores);
      expect(trace.tensors.size).toBe(0);
      trace.record('compress.scores', scores);
      expect(() => trace.record('compress.scores', scores)).toThrow(
        'the trace already holds compress.scores',
      );
      expect(() => trace.record('vision.hidden.LL', scores, 3)).toThrow(
        'vision.hidden.03 is [1, 2], expected [B, N, D]',
      );
      expect([...trace.tensors.keys()]).toEqual(['compress.scores']);
      trace.dispose();
    });
  });
});
