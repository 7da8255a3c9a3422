import type * as tf from '@tensorflow/tfjs-core';
import type { Views } from '../image/views.ts';
import { project, type Projector } from '../projector.ts';
import { runBeside } from '../vision/beside.ts';
import type { ClipVision } from '../vision/clip.ts';
import { comparePatches, type Clip } from '../vision/contrastive.ts';
import type { Scope } from '../tensor/scope.ts';
import type { Sight } from '../vision/tower.ts';
import { joinFrames } from './frames.ts';
import type { Seen } from './method.ts';
import { joinViews } from './views.ts';

/**
 * What the tower saw, several of its pictures as one where a plan takes them so.
 * @param together frames of a clip that are chosen from together
 * @param views of one picture
 * @param own takes over what is joined; what is not stays the caller's
 */
export function joinPictures(
  seen: Sight,
  { together, views }: { together?: number; views?: Views },
  own: Scope,
): Sight {
  if (together) return own(joinFrames(seen, together));
  return views ? own(joinViews(seen, views)) : seen;
}

/** What a method may look at before the decoder, each part made when it is asked for. */
export function shownOf(
  model: { vision: ClipVision; projector: Projector; clip?: Clip },
  sight: Sight,
): Seen {
  const { vision, projector, clip } = model;
  const { features, apart, ...insides } = sight;
  const F = () => features.F(); // whole
  return {
    ...insides,
    ...(apart && { views: apart.map((view) => shownOf(model, view)) }),
    get F() {
      return F();
    },
    project: (x: tf.Tensor3D) => project(projector, x),
    ...(clip && { compare: (questions) => comparePatches(clip, F(), questions) }),
    beside: (tokens, layers) => runBeside(vision, sight.hidden, tokens, layers),
  };
}
