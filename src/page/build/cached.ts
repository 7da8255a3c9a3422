/** What the page shows before its model is there: the same numbers, computed by it when the page is built. */
import { startBackend } from '../../backend/start.ts';
import { diskFolder } from '../../node/folder.ts';
import { drawWorld } from '../../world/draw.ts';
import { askScene } from '../../world/questions.ts';
import { shownScene } from '../../world/scene.ts';
import { openEngine, type Facts, type Told } from '../engine/engine.ts';
import type { Maps } from '../engine/maps.ts';
import { openingState, sceneOf, type PageState } from '../state/state.ts';

/** A state and what came of it. */
export interface Cached {
  title: string;
  /** Whether pruning makes a right answer wrong. */
  fails?: boolean;
  state: PageState;
  maps: Maps;
  told: Told;
  uncut: Told;
}

/** What is in the page from the start. */
export interface Cache {
  facts: Facts;
  states: Cached[];
}

/** Scenes of the test split, by what is in them. */
const shown = [
  { title: 'three shapes and a letter', index: shownScene },
  { title: 'another scene', index: 12 },
];

/** So few patches that a failure is soon found. */
const scarce = 13;

/** @param weights the LLaVA's folder */
export async function computeCache(weights: string): Promise<Cache> {
  await startBackend('wasm');
  const engine = await openEngine(diskFolder(weights));
  const show = async (state: PageState, title: string): Promise<Cached> => {
    const { cls, received, norms } = await engine.look(drawWorld(sceneOf(state)));
    const ask = async (method: string, budget: number) => {
      const told = await engine.ask(state.question, { method, budget });
      if ('refused' in told) throw new Error(told.refused);
      return told;
    };
    const told = await ask(`vtc-cls:layers=${state.K}`, state.U);
    const uncut = await ask('none', engine.facts.patches);
    return { title, state, maps: { cls, received, norms }, told, uncut };
  };
  try {
    const states: Cached[] = [];
    for (const { title, index } of shown) states.push(await show(openingState(index), title));
    const failure = await findFailure(show);
    return { facts: engine.facts, states: [...states, failure] };
  } finally {
    engine.dispose();
  }
}

/** The first question of the test split that the whole picture gets right and the pruned one wrong. */
async function findFailure(show: (state: PageState, title: string) => Promise<Cached>): Promise<Cached> {
  for (let index = 0; ; index++) {
    const opening = openingState(index);
    for (const { question, answer } of askScene(sceneOf(opening))) {
      const cached = await show({ ...opening, question, U: scarce }, `where ${scarce} patches are too few`);
      if (cached.uncut.answer === answer && cached.told.answer !== answer) return { ...cached, fails: true };
    }
  }
}

/** Four digits of every number that is not whole: as many as a picture shows. */
export const shortNumbers = (_: string, value: unknown): unknown =>
  typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(4)) : value;
