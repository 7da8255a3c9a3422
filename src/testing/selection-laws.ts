/** What VTC-CLS claims of its selection whatever the attention, for somebody's function that selects: fast-check properties. */
import fc from 'fast-check';
import { attentionCases, type AttentionCase } from './arbitraries.ts';
import { checkSelection, scoreOf } from './selection.ts';
import { assertNone } from './violation.ts';

/**
 * A selection by [CLS] attention of K layers.
 * @param attention [K][B][H][P]
 * @param budget U
 * @returns [B][U]
 */
export type Select = (attention: number[][][][], budget: number) => number[][] | Promise<number[][]>;

/** A property of a user's function, and why it matters. */
export interface Law<F> {
  name: string;
  why: string;
  /** For `fc.assert`. */
  property(this: void, of: F): fc.IAsyncProperty<[AttentionCase]>;
}

/** Each picture's attention apart: [K][B][H][P] → B of [K][1][H][P]. */
const oneByOne = (attention: number[][][][]): number[][][][][] =>
  attention[0].map((_, b) => attention.map((layer) => [layer[b]]));

const map = (attention: number[][][][], change: (x: number, p: number) => number): number[][][][] =>
  attention.map((layer) => layer.map((item) => item.map((head) => head.map(change))));

const law = (
  name: string,
  why: string,
  check: (select: Select, drawn: AttentionCase) => Promise<void>,
): Law<Select> => ({
  name,
  why,
  property: (select) => fc.asyncProperty(attentionCases, (drawn) => check(select, drawn)),
});

/** @throws Error telling both, where they are not the same */
function same(
  what: string,
  kept: readonly (readonly number[])[],
  expected: readonly (readonly number[])[],
): void {
  const [is, should] = [JSON.stringify(kept), JSON.stringify(expected)];
  if (is !== should) throw new Error(`${what}: kept ${is}, should be ${should}`);
}

/** The laws of a selection by the sum over layers of the mean over heads. */
export const selectionLaws: readonly Law<Select>[] = [
  law(
    'top-u',
    'the method is: the U patches with the largest sum, ties to the lower index, back in raster order',
    async (select, { attention, U }) => {
      const kept = await select(attention, U);
      for (const [b, [...layers]] of oneByOne(attention).entries()) {
        const scores = scoreOf(layers.map(([heads]) => heads));
        assertNone(checkSelection({ kept: kept[b], budget: U, scores }));
      }
    },
  ),
  law(
    'scale',
    'only the ranking counts: attention that is not renormalised after [CLS]’s own column went selects the same',
    async (select, { attention, U }) => {
      const c = [0.25, 2, 1024][U % 3];
      same(
        `attention × ${c}`,
        await select(
          map(attention, (x) => c * x),
          U,
        ),
        await select(attention, U),
      );
    },
  ),
  law(
    'heads',
    'heads have no order: a mean over them may not depend on one',
    async (select, { attention, U, H }) => {
      const turned = attention.map((layer) =>
        layer.map((item) => item.map((_, h) => item[(h + 1 + (U % H)) % H])),
      );
      same('heads in another order', await select(turned, U), await select(attention, U));
    },
  ),
  law(
    'one-hot',
    'what [CLS] alone attends to is what it gathered: the smallest budget must keep it',
    async (select, { attention, P, U }) => {
      const target = (U * 7) % P;
      const kept = await select(
        map(attention, (_, p) => +(p === target)),
        1,
      );
      same(
        `all attention on patch ${target}`,
        kept,
        kept.map(() => [target]),
      );
    },
  ),
  law('constant-layer', 'a layer that sees no difference has no vote', async (select, { attention, U }) => {
    const constant = map(attention.slice(0, 1), () => U / 1024);
    same(
      'one more layer, the same for all patches',
      await select([...attention, ...constant], U),
      await select(attention, U),
    );
  }),
  law(
    'one-layer',
    'with K = 1 it is FasterVLM: the head mean of one layer ranks',
    async (select, { attention, U }) => {
      const [layer] = attention;
      const kept = await select([layer], U);
      for (const [b, heads] of layer.entries()) {
        const scores = scoreOf(heads);
        assertNone(checkSelection({ kept: kept[b], budget: U, scores }));
      }
    },
  ),
  law(
    'batch',
    'a picture’s answer must not depend on the pictures it was asked about together with',
    async (select, { attention, U }) => {
      const apart: number[][] = [];
      for (const one of oneByOne(attention)) apart.push(...(await select(one, U)));
      same('the batch', await select(attention, U), apart);
    },
  ),
  law(
    'all',
    'with U = P nothing is pruned: the method is the uncut model',
    async (select, { attention, P }) => {
      const kept = await select(attention, P);
      same(
        'U = P',
        kept,
        kept.map(() => [...Array(P).keys()]),
      );
    },
  ),
];

/** The sum and the mean of K layers rank alike: for two functions, one of each. */
export const sumIsMean: Law<{ sum: Select; mean: Select }> = {
  name: 'sum-is-mean',
  why: 'they differ by the factor K: an ensemble that is called one may be computed as the other',
  property: ({ sum, mean }) =>
    fc.asyncProperty(attentionCases, async ({ attention, U }) =>
      same('the mean', await mean(attention, U), await sum(attention, U)),
    ),
};
