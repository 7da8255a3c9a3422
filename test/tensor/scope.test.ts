import * as tf from '@tensorflow/tfjs-core';
import { expect, test } from 'vitest';
import { free, scope } from '../../src/tensor/scope.ts';
import { describeEachBackend } from '../support/backends.ts';
import { expectNewTensors } from '../support/random.ts';

describeEachBackend('a scope', () => {
  test('frees what it was given when its block ends, however it ends', async () => {
    const block = async (end: () => void) => {
      using own = scope();
      own(tf.ones([2]));
      own({ a: tf.ones([1]), more: [tf.ones([1]), new Map([[3, tf.ones([1])]])], n: 3, none: undefined });
      own(undefined);
      await Promise.resolve();
      end();
    };
    await expectNewTensors(0, 'a block', () => block(() => undefined));
    const throws = () => {
      throw new Error('no');
    };
    await expectNewTensors(0, 'a block that throws', () => block(throws), true);
  });

  test('keeps what is returned, wherever in what it owns it stands', () => {
    const before = tf.memory().numTensors;
    const make = () => {
      using own = scope();
      const pair = own({ a: tf.ones([1]), b: tf.ones([1]) });
      own(tf.ones([1]));
      return own.keep({ twice: [pair.b, own(tf.zeros([1]))] });
    };
    const { twice } = make();
    expect(tf.memory().numTensors - before).toBe(2);
    expect(twice.map((x) => x.arraySync())).toEqual([[1], [0]]);
    free(twice);
    expect(tf.memory().numTensors).toBe(before);
  });

  test('disposes what has a way of its own, once, the last first', () => {
    const order: string[] = [];
    {
      using own = scope();
      for (const name of ['first', 'second']) own({ dispose: () => void order.push(name) });
    }
    expect(order).toEqual(['second', 'first']);
  });
});
