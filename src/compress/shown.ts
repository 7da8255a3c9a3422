import type * as tf from '@tensorflow/tfjs-core';
import { project, type Projector } from '../projector.ts';
import { runBeside } from '../vision/beside.ts';
import type { ClipVision } from '../vision/clip.ts';
import { comparePatches, type Clip } from '../vision/contrastive.ts';
import type { Sight } from '../vision/tower.ts';
import type { Seen } from './method.ts';

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
