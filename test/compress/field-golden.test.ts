/** The other vision-side methods on a whole checkpoint, against what PyTorch makes of transformers' tensors. */
import * as tf from '@tensorflow/tfjs-core';
import { expect, test } from 'vitest';
import { loadModel } from '../../src/node/checkpoint.ts';
import { parseVariants } from '../../src/eval/run/variant.ts';
import { prepare } from '../../src/plan.ts';
import { choose, see } from '../../src/story.ts';
import { describeEachBackend } from '../support/backends.ts';
import { expectClose, golden, readExpected, type Expected } from '../support/golden.ts';
import { tidyEachTest } from '../support/random.ts';

/** Variant → the oracle's name for it, where they differ. */
const cases: [variant: string, oracle: string, budget: number][] = [3, 6, 11].flatMap((U) =>
  [
    ['fastervlm', `fastervlm.u${U}`],
    ['hired', `hired.u${U}`],
    ['fopru', `fopru.u${U}.rank`],
    ...(U === 3 ? [] : [['fopru:strategy=row', `fopru.u${U}.row`]]),
    ['vispruner', `vispruner.u${U}.share0.5`],
    ['vispruner:share=0.75', `vispruner.u${U}.share0.75`],
    ['divprune', `divprune.u${U}`],
    ['hybrid', `hybrid.u${U}`],
    [`visionzip:contextual=${2 / U}`, `visionzip.u${U}`],
    ['prumerge:neighbours=4', `prumerge.u${U}`],
    ['prumerge+:neighbours=4', `prumerge+.u${U}`],
    ['dpc-knn:neighbours=3', `dpc-knn.u${U}`],
    ['tome', `tome.u${U}`],
  ].map(([variant, oracle]): [string, string, number] => [variant, oracle, U]),
);
cases.push(['pooling', 'pooling.u4.grid', 4], ['pooling:pattern=raster', 'pooling.u8.raster', 8]);

const adaptive = ['prumerge', 'prumerge+'].flatMap((name) =>
  [0, 1].map((picture) => ({ variant: `${name}:count=adaptive:neighbours=4`, name, picture })),
);

/** What a method makes of the golden pictures, or of one of them. */
async function compress(variant: string, budget: number, picture?: number) {
  const model = await loadModel(golden('llava-v5keys'));
  const llava = model.llava!;
  const inputs = await readExpected(golden('llava-v5keys', 'expected.safetensors'));
  const [options] = parseVariants(variant);
  try {
    const pixels = tf.transpose((await inputs.float('pixel_values')) as tf.Tensor4D, [0, 2, 3, 1]);
    const some = picture === undefined ? pixels : tf.slice(pixels, [picture], [1]);
    const plan = prepare(llava.config, { ...options, budget });
    return await choose(llava, await see(llava, some, plan), plan);
  } finally {
    await inputs.close();
    model.dispose();
  }
}

const withOracle = async (use: (oracle: Expected) => Promise<void>) => {
  const oracle = await readExpected(golden('field.safetensors'));
  await use(oracle).finally(() => oracle.close());
};

describeEachBackend('the field', () => {
  tidyEachTest();

  test.each(cases)('%s makes what %s holds', async (variant, name, budget) => {
    await withOracle(async (oracle) => {
      const { tokens, kept, scores } = await compress(variant, budget);
      expect(tokens.shape).toEqual([2, (kept?.[0] ?? { length: budget }).length, 24]);
      if (oracle.has(`${name}.kept`)) expect(kept).toEqual(await oracle.ints(`${name}.kept`));
      else {
        expect(kept).toBeUndefined();
        expectClose(tokens, await oracle.float(`${name}.tokens`), 'tokens', 1e-5);
      }
      if (name.startsWith('fopru')) {
        const wanted = await oracle.float(`fopru.u${budget}.scores`);
        expectClose(tf.tensor2d(scores!.map((row) => [...row])), wanted, 'scores', 1e-5);
      }
    });
  });

  test.each(adaptive)(
    '$variant of picture $picture counts as NumPy does',
    async ({ variant, name, picture }) => {
      await withOracle(async (oracle) => {
        const { tokens } = await compress(variant, 1, picture);
        expectClose(tokens, await oracle.float(`${name}.adaptive.${picture}.tokens`), 'tokens', 1e-5);
      });
    },
  );

  test('the oracle holds nothing else', async () => {
    await withOracle((oracle) => {
      const read = new Set(cases.map(([, name]) => name));
      for (const { name, picture } of adaptive) read.add(`${name}.adaptive.${picture}`);
      const rest = oracle.names.filter((key) => !read.has(key.replace(/\.(kept|tokens)$/, '')));
      expect(rest.filter((key) => !/^fopru\.u\d+\.scores$/.test(key))).toEqual([]);
      return Promise.resolve();
    });
  });
});
