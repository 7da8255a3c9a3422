/** What a method is given, watched: it may look at it, but neither dispose nor change it, nor leave tensors behind. */
import * as tf from '@tensorflow/tfjs-core';

export interface Watch {
  /** Takes note of a tensor as it is now. @returns the same */
  tensor<T extends tf.Tensor>(name: string, tensor: T): T;
  /** Of what a step gives to the method while it runs: tensors made by `make` are none that the method left. */
  aside<T>(make: () => T): T;
  /** Of a tensor that the method made for others: it is none that it left. */
  handOver(): void;
  /** What the method did to what it was given, or left; undefined where nothing. Ends the watch. */
  end(): Promise<string | undefined>;
}

/** @param plain values that are no tensors, by name */
export function watchGiven(plain: Record<string, unknown> = {}): Watch {
  const before = snapshot(plain);
  const noted: { name: string; tensor: tf.Tensor; copy: tf.Tensor }[] = [];
  let others = 0;
  const aside = <T>(make: () => T): T => {
    const count = tf.memory().numTensors;
    const made = make();
    others += tf.memory().numTensors - count;
    return made;
  };
  const begun = tf.memory().numTensors;
  return {
    aside,
    handOver: () => void others++,
    tensor(name, tensor) {
      if (!noted.some((one) => one.tensor === tensor)) {
        noted.push({ name, tensor, copy: aside(() => tf.keep(tf.tidy(() => tf.mul(tensor, 1)))) });
      }
      return tensor;
    },
    async end() {
      const left = tf.memory().numTensors - begun - others;
      try {
        const gone = noted.find(({ tensor }) => tensor.isDisposed);
        if (gone) return `disposed ${gone.name}, which was not its own`;
        if (left > 0)
          return `left ${left} ${left === 1 ? 'tensor' : 'tensors'} in memory: tf.tidy frees them`;
        if (left < 0) return `disposed ${-left} ${left === -1 ? 'tensor' : 'tensors'} that were not its own`;
        for (const { name, tensor, copy } of noted) {
          const [now, then] = [await tensor.data(), await copy.data()];
          if (now.some((x, i) => !Object.is(x, then[i])))
            return `changed ${name}, which was only to be looked at`;
        }
        const after = snapshot(plain);
        const changed = Object.keys(plain).find((name) => before[name] !== after[name]);
        return changed && `changed ${changed}, which was only to be looked at`;
      } finally {
        for (const { copy } of noted) copy.dispose();
      }
    },
  };
}

/** Of a map of tensors which there are, of all else the values. */
const snapshot = (plain: Record<string, unknown>): Record<string, string> =>
  Object.fromEntries(
    Object.entries(plain).map(([name, value]) => [
      name,
      value instanceof Map
        ? JSON.stringify([...(value as Map<number, tf.Tensor>)].map(([layer, { id }]) => [layer, id]))
        : JSON.stringify(value),
    ]),
  );
