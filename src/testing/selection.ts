/** Whether a selection is right: U patches that were picked of P. Plain arrays, so that any code's can be looked at. */
import { faultsOfPicks } from '../compress/faults.ts';
import { violations, type Violation } from './violation.ts';

/** A selection of one picture's patches. */
export interface Selection {
  /** The patches that were kept, as they came. */
  kept: readonly number[];
  /** U, how many there should be. */
  budget: number;
  /** P; left out where scores or attention tell it. */
  patches?: number;
  /** What they were ranked by, [P], where the highest should have stayed. */
  scores?: readonly number[];
  /** In place of scores: [CLS] attention, [H][P], or of K layers whose sum ranks, [K][H][P]. */
  attention?: readonly (readonly number[])[] | readonly (readonly (readonly number[])[])[];
}

/** Each property of a selection, and why it matters. */
export const selectionWhys = {
  count: 'methods are compared at equal numbers of tokens: one more or fewer is another row of the table',
  range: 'an index outside the picture gathers another picture’s patch, or the text',
  distinct: 'a patch that comes twice takes the place of another, and the decoder reads it twice',
  ascending: 'the decoder reads patches in raster order: another order moves what it sees to other places',
  finite: 'a comparison with NaN is always false, so any choice comes out, and none is the method’s',
  best: 'the method is its ranking: what was dropped must not score more than what stayed',
  ties: 'of equal scores the lower index stays: otherwise one picture gives another choice on another device',
} as const;

/** Rounding of a float32 mean over heads, relative to the largest score. */
const rounding = 1e-6;

/**
 * What is wrong with a selection. `topk` of scores with `sort` behind it has nothing wrong.
 * @throws Error when nothing says how many patches there are
 */
export function checkSelection({ kept, budget, patches, scores, attention }: Selection): Violation[] {
  const { found, add } = violations(selectionWhys);
  const ranks = scores ?? (attention && scoreOf(attention));
  const P = patches ?? ranks?.length;
  if (P === undefined) throw new Error('a selection needs patches, scores or attention: how many are there?');
  for (const { property, message } of faultsOfPicks(kept, { P, U: budget })) add(property, message);
  if (!ranks) return found;
  const bad = ranks.findIndex((score) => !Number.isFinite(score));
  if (bad >= 0) add('finite', `patch ${bad} scores ${ranks[bad]}`);
  else addRanking(add, kept, ranks, scores ? 0 : rounding);
  return found;
}

function addRanking(
  add: (property: 'best' | 'ties', message: string) => void,
  kept: readonly number[],
  scores: readonly number[],
  tolerance: number,
): void {
  const stayed = new Set(kept.filter((p) => p in scores));
  const dropped = [...scores.keys()].filter((p) => !stayed.has(p));
  if (stayed.size === 0 || dropped.length === 0) return;
  const worst = [...stayed].reduce((a, b) =>
    scores[b] < scores[a] || (scores[b] === scores[a] && b > a) ? b : a,
  );
  const best = dropped.reduce((a, b) => (scores[b] > scores[a] ? b : a)); // the first of equals
  const slack = tolerance * Math.max(...scores.map(Math.abs));
  if (scores[best] > scores[worst] + slack) {
    add('best', `dropped patch ${best} scores ${scores[best]}, kept patch ${worst} ${scores[worst]}`);
  } else if (tolerance === 0 && scores[best] === scores[worst] && best < worst) {
    add('ties', `patches ${best} and ${worst} both score ${scores[best]}, and ${worst} was kept`);
  }
}

/** The sum over layers of the mean over heads; one layer may stand alone. */
export function scoreOf(attention: NonNullable<Selection['attention']>): number[] {
  const isLayers = (a: typeof attention): a is readonly (readonly (readonly number[])[])[] =>
    Array.isArray(a[0][0]);
  const layers = isLayers(attention) ? attention : [attention as readonly (readonly number[])[]];
  return layers[0][0].map((_, p) =>
    layers.reduce((sum, heads) => sum + heads.reduce((a, head) => a + head[p], 0) / heads.length, 0),
  );
}
