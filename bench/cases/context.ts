import type { Peer } from '../peers/peer.ts';
import type { BenchCase } from '../harness.ts';
import type { Recipe } from '../weights.ts';

/** Who takes part in this run. */
export interface Context {
  backends: readonly string[];
  peer?: Peer;
  /** All shapes at full depth, or what fits in three minutes. */
  full: boolean;
}

type Description = Omit<BenchCase, 'runner' | 'backend' | 'prepare' | 'run' | 'dispose'>;

/** What a peer needs to prepare the same work. */
export interface PeerRequest extends Record<string, unknown> {
  kind: 'linear' | 'attention' | 'norm' | 'matmul' | 'sum' | 'vision' | 'llama' | 'prefill' | 'decode';
  weights?: Recipe[];
}

/** How many values of a result are compared. */
export const digestLength = 8;

/**
 * The peer's cases of one name: one a variant, or just one where all variants compute alike.
 * @param requests by key, in the order they are prepared; the last is the one that runs
 */
export function peerCases(
  { peer }: Context,
  description: Description,
  requests: Record<string, PeerRequest>,
  options: { variants?: string[]; count?: number } = {},
): BenchCase[] {
  if (!peer) return [];
  const { variants, count = digestLength } = options;
  return (variants ?? peer.variants.slice(0, 1)).map((variant) => {
    // A run that changes what it holds (a decode's cache) is prepared once a variant.
    const keyOf = (key: string) => (requests[key].kind === 'decode' ? `${key} ${variant}` : key);
    const keys = Object.keys(requests);
    return {
      ...description,
      runner: variants ? `torch ${variant}` : 'torch',
      prepare: async () => {
        for (const key of keys) await peer.prepare(keyOf(key), { ...requests[key], attn: variant });
      },
      run: () => peer.run(keyOf(keys.at(-1)!), variant, count),
      dispose: async () => {
        for (const key of keys) await peer.dispose(keyOf(key));
      },
    };
  });
}
