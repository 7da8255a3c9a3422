/** What several methods need of the tower, seen once for all of them. */
import type { TowerNeeds } from '../../compress/method.ts';
import type { SeenPictures } from '../../story.ts';

/** What serves them all. */
export function joinNeeds(all: readonly TowerNeeds[]): Required<TowerNeeds> {
  const join = (lists: (number[] | undefined)[]) => [...new Set(lists.flatMap((list) => list ?? []))];
  return {
    clsAttention: join(all.map((needs) => needs.clsAttention)),
    attention: join(all.map((needs) => needs.attention)),
    keys: join(all.map((needs) => needs.keys)),
    hidden: join(all.map((needs) => needs.hidden)),
  };
}

/** What was seen for all of them, cut to what one of them needs: a method may use all that it is given. */
export function showOnly(
  seen: SeenPictures,
  { clsAttention = [], attention = [], keys = [], hidden = [] }: TowerNeeds,
): SeenPictures {
  const only = <T>(layers: number[], all: Map<number, T>) => new Map(layers.map((l) => [l, all.get(l)!]));
  return {
    ...seen,
    clsAttention: only(clsAttention, seen.clsAttention),
    attention: only(attention, seen.attention),
    keys: only(keys, seen.keys),
    hidden: only(hidden, seen.hidden),
  };
}
