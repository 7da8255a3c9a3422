import type { Peer } from '../peers/peer.ts';
import type { BenchCase } from '../harness.ts';
import type { Recipe } from '../weights.ts';

/** Who takes part in this run. */
export interface Context {
  backends: readonly string[];
  peers: readonly Peer[];
  /** All shapes at full depth, or what fits in three minutes. */
  full: boolean;
  /** The compression methods, one by one. */
  methods: boolean;
  /** One layer of each large model. */
  layers: boolean;
  /** Sizes that fill a GPU. */
  gpu: boolean;
}

/** What a case of any runner says of itself. */
export type Description = Omit<BenchCase, 'runner' | 'backend' | 'prepare' | 'run' | 'dispose'>;

/** What a peer needs to prepare the same work. */
export interface PeerRequest extends Record<string, unknown> {
  kind: 'linear' | 'attention' | 'norm' | 'matmul' | 'sum' | 'vision' | 'llama' | 'prefill' | 'decode';
  weights?: Recipe[];
}

/** How many values of a result are compared. */
export const digestLength = 8;

/** Of a peer's ways to compute attention the plain one or every one; unsaid where the case has no attention. */
export type Ways = 'plain' | 'every';

/**
 * The peers' cases of one name.
 * @param requests by key, in the order they are prepared; the last is the one that runs
 */
export function peerCases(
  { peers }: Pick<Context, 'peers'>,
  description: Description,
  requests: Record<string, PeerRequest>,
  { ways, count = digestLength }: { ways?: Ways; count?: number } = {},
): BenchCase[] {
  return peers.flatMap((peer) => {
    const { name, variants } = peer.kind;
    const chosen = ways === 'every' && variants.length > 0 ? variants : [variants[0] as string | undefined];
    return chosen.map((variant): BenchCase => {
      // A run that changes what it holds (a decode's cache) is prepared once a variant.
      const keyOf = (key: string) => (requests[key].kind === 'decode' ? `${key} ${variant}` : key);
      const keys = Object.keys(requests);
      return {
        ...description,
        runner: ways && variant ? `${name} ${variant}` : name,
        prepare: async () => {
          for (const key of keys) await peer.prepare(keyOf(key), { ...requests[key], variant });
        },
        run: () => peer.run(keyOf(keys.at(-1)!), variant, count),
        dispose: async () => {
          for (const key of keys) await peer.dispose(keyOf(key));
        },
      };
    });
  });
}
