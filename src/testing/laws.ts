/** The invariants of merging and of cuts as fast-check properties of a user's function. */
import fc from 'fast-check';
import { budgets, features } from './arbitraries.ts';
import { checkCuts, type LayerCuts } from './cut.ts';
import { checkMerge, type Merge } from './merge.ts';
import { assertNone } from './violation.ts';

/** What somebody's function made of features: W, and F' where it has made that too. */
export type Merging = Pick<Merge, 'weights' | 'tokens'>;

/**
 * That a function which merges P patches to U tokens makes a right W, and F' = W·F.
 * @param merge from F [P][D] and U
 * @param claims whether its tokens are means, and share no patch
 */
export const mergeLaw = (
  merge: (features: number[][], budget: number) => Merging | Promise<Merging>,
  claims: Pick<Merge, 'means' | 'partition' | 'tolerance'> = {},
) =>
  fc.asyncProperty(
    fc
      .record({ P: fc.integer({ min: 1, max: 16 }), D: fc.integer({ min: 1, max: 4 }) })
      .chain(({ P, D }) => fc.record({ F: features(P, D), U: budgets(P) })),
    async ({ F, U }) => {
      const { weights, tokens } = await merge(F, U);
      if (weights.length !== U) throw new Error(`W has ${weights.length} rows, should be ${U}`);
      assertNone(checkMerge({ ...claims, patches: F.length, weights, features: F, tokens }));
    },
  );

/** A prompt for a decoder with a method between its layers: [before | picture | after]. */
export interface CutPrompt {
  before: number;
  /** P. */
  patches: number;
  after: number;
  /** U. */
  budget: number;
}

/** That a decoder which cuts leaves the text, the order, the caches and the positions right. */
export const cutLaw = (
  run: (
    prompt: CutPrompt,
  ) => Pick<LayerCuts, 'layers' | 'positions'> | Promise<Pick<LayerCuts, 'layers' | 'positions'>>,
) =>
  fc.asyncProperty(
    fc
      .record({
        before: fc.nat(4),
        patches: fc.integer({ min: 1, max: 16 }),
        after: fc.integer({ min: 1, max: 4 }),
      })
      .chain((prompt) => budgets(prompt.patches).map((budget): CutPrompt => ({ ...prompt, budget }))),
    async (prompt) => {
      const { before, patches, after } = prompt;
      const places = [...Array(before + patches + after).keys()];
      const isImage = (t: number) => t >= before && t < before + patches;
      const [text, image] = [places.filter((t) => !isImage(t)), places.filter(isImage)];
      assertNone(checkCuts({ text, image, ...(await run(prompt)) }));
    },
  );
