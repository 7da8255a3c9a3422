import { drawWorld } from '../../world/draw.ts';
import { choicesOf, worldQuestions } from '../../world/questions.ts';
import { side, type Scene, type Split } from '../../world/scene.ts';
import type { Task } from './task.ts';

/** The drawn world's own questions about the first scenes of a split; a scene without questions is left out. */
export function createWorldTask(split: Split, scenes: number): Task {
  const asked = worldQuestions(split, scenes);
  const shown = new Map<string, Scene>(asked.map(({ scene }) => [scene.id, scene]));
  const places = new Map([...shown.keys()].map((id, place) => [id, place]));
  return {
    name: `world, ${split} split, ${scenes} scenes`,
    scoring: 'exact',
    pictures: [...shown.values()].map((scene) => ({
      id: scene.id,
      read: () => drawWorld(scene),
      objects: scene.objects.map(({ box: [x0, y0, x1, y1] }) => [x0 / side, y0 / side, x1 / side, y1 / side]),
    })),
    blank: { id: 'ground', read: () => drawWorld({ id: 'ground', objects: [], backgroundSeed: 1 }) },
    questions: asked.map(({ scene, question: { id, type, question, answer } }) => ({
      id,
      type,
      question,
      answer,
      choices: choicesOf[type],
      picture: places.get(scene.id)!,
    })),
  };
}
