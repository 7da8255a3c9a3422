/** What a method's choice makes of the pictures before the decoder. */
import * as tf from '@tensorflow/tfjs-core';
import type { OriginalPlaces } from '../decoder/splice.ts';
import { scope } from '../tensor/scope.ts';
import type { Views } from '../image/views.ts';
import { pickedBy, withCls, type TokenMatrix } from '../tensor/token-matrix.ts';
import type { Trace } from '../tensor/trace.ts';
import type { Features } from '../vision/features.ts';
import { countRuns } from './frames.ts';
import type { Choice } from './method.ts';
import { endRowsOf } from './views.ts';

/** Pictures as the projector takes them. */
export type CompressedPictures = {
  tokens: tf.Tensor3D; // F' [B, U, D], with [CLS] first where it goes along
  W: TokenMatrix; // [B, Z, P], a row of nothing for [CLS] and for each newline
  /** Which patches stayed, [B][U] ascending, where the method chose some and made no new ones. */
  kept?: number[][];
  /** What it ranked them by, P values a picture. */
  scores?: readonly Float32Array[];
  /** Where they stood in the uncut picture, for tokens that keep their positions. */
  places?: OriginalPlaces;
  /** Where several pictures were taken for one: how many of the tokens each has, [B][F]. */
  runs?: number[][];
  /** Where it is of several views: behind how many of the tokens each newline comes, [B][R]. */
  rowEnds?: number[][];
};

/** What a plan says of it; see plan.ts. */
export interface Compressing {
  keepsCls: boolean;
  picks: boolean;
  originalLength?: number;
  together?: number;
  views?: Views;
}

/**
 * F' = W·F, and [CLS] before it: the checkpoint's own, where it keeps that, and the method's, where it is one of its U.
 * @param picks whether the choice is one among patches
 */
export function compress(
  { W, tokens: made, cls = false, scores }: Choice,
  { features }: { features: Features },
  { keepsCls, picks, originalLength, together, views }: Compressing,
  trace?: Trace,
): CompressedPictures {
  using own = scope();
  own(made);
  const first = own([keepsCls, cls].filter(Boolean).map(() => features.cls()!));
  const ended = views && endRowsOf(W, views); // with a newline behind each row of crops
  const all = ended ? ended.W : withCls(W, first.length);
  trace?.record('compress.matrix', all);
  const tokens = own(tf.tidy(() => tf.concat([...first, made ?? features.times(W)], 1)));
  trace?.record('compress.features', tokens);
  const kept = picks ? pickedBy(W) : undefined;
  if (trace) recordChoice(trace, kept, scores);
  const places = originalLength === undefined ? undefined : (ended?.places ?? placesOf(all, originalLength));
  const runs = together === undefined ? undefined : countRuns(all, together);
  return own.keep({ tokens, W: all, kept, scores, places, runs, rowEnds: ended?.rowEnds });
}

function recordChoice(trace: Trace, kept?: number[][], scores?: readonly Float32Array[]): void {
  if (scores) {
    const shape = [scores.length, scores[0].length];
    trace.record('compress.scores', { shape, tensor: () => tf.tensor2d(scores.map((row) => [...row])) });
  }
  if (kept) {
    const shape = [kept.length, kept[0].length];
    trace.record('compress.kept', { shape, tensor: () => tf.tensor2d(kept, undefined, 'int32') });
  }
}

/** The places of kept patches in the uncut picture, behind its [CLS] where it has one. */
function placesOf({ rows, columns }: TokenMatrix, length: number): OriginalPlaces {
  const before = length - columns;
  const places = rows.map((picture) =>
    picture.map((row) => (row.size === 0 ? 0 : before + [...row.keys()][0])),
  );
  return { places, length };
}
