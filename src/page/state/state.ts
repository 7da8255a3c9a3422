/** All that a visitor can set: what is drawn follows from it, and a link holds it. */
import { createScene, shownScene, type Scene } from '../../world/scene.ts';
import { askScene } from '../../world/questions.ts';
import type { SceneObject } from '../../world/things.ts';

/** What the patches of a layer are coloured by. */
export const lenses = ['cls', 'received', 'norms'] as const;
/** One of {@link lenses}. */
export type Lens = (typeof lenses)[number];

/** The page's state. Everything else on it is computed from this. */
export interface PageState {
  objects: SceneObject[];
  /** Seed of the ground's noise. */
  ground: number;
  question: string;
  /** Layers in the ensemble. */
  K: number;
  /** Patches that stay. */
  U: number;
  layer: number;
  /** −1 for the mean over heads. */
  head: number;
  lens: Lens;
  /** The method that VTC-CLS is held against. */
  rival: string;
  /** The patch that lights up everywhere. */
  pinned?: number;
  /** What the visitor would keep. */
  painted: number[];
  /** Of the walk through the equations. */
  step: number;
}

/** Of the scene that is shown first: one that patches drawn at random get wrong. */
const shownQuestion = 'what color is the large cross ?';

/** The scene of a split, its first question asked; {@link shownQuestion} of the one that is shown first. */
export function openingState(index = shownScene, split: 'test' | 'heldout' = 'test'): PageState {
  const { objects, backgroundSeed: ground } = createScene(split, index);
  return {
    objects,
    ground,
    question:
      index === shownScene && split === 'test'
        ? shownQuestion
        : askScene(sceneOf({ objects, ground }))[0].question,
    K: 3,
    U: 25,
    layer: 3,
    head: -1,
    lens: 'cls',
    rival: 'random',
    painted: [],
    step: 0,
  };
}

/** The same as `drawWorld` takes it. */
export const sceneOf = ({ objects, ground }: Pick<PageState, 'objects' | 'ground'>): Scene => ({
  id: `page-${ground}`,
  objects,
  backgroundSeed: ground,
});
