import { drawWorld } from '../../world/draw.ts';
import { askBoxes, shareOf } from '../../world/box-questions.ts';
import { choicesOf, worldQuestions, type Question } from '../../world/questions.ts';
import { createScene, type Scene, type Split } from '../../world/scene.ts';
import type { Task, TaskPicture } from './task.ts';

const pictureOf = (scene: Scene): TaskPicture => ({
  id: scene.id,
  read: () => drawWorld(scene),
  objects: scene.objects.map(({ box }) => shareOf(box)),
});

const blank: TaskPicture = {
  id: 'ground',
  read: () => drawWorld({ id: 'ground', objects: [], backgroundSeed: 1 }),
};

/** The drawn world's own questions about the first scenes of a split; a scene without questions is left out. */
export function createWorldTask(split: Split, scenes: number): Task {
  const asked = worldQuestions(split, scenes);
  const shown = new Map<string, Scene>(asked.map(({ scene }) => [scene.id, scene]));
  const places = new Map([...shown.keys()].map((id, place) => [id, place]));
  return {
    name: `world, ${split} split, ${scenes} scenes`,
    scoring: 'exact',
    pictures: [...shown.values()].map(pictureOf),
    blank,
    questions: asked.map(({ scene, question: { id, type, question, answer, boxes } }) => ({
      id,
      type,
      question,
      answer,
      about: aboutOf(scene, boxes),
      choices: choicesOf[type],
      picture: places.get(scene.id)!,
    })),
  };
}

/** A small shape, a large one or a letter, where a question speaks of one object. */
function aboutOf({ objects }: Scene, boxes: Question['boxes']): string | undefined {
  const object = boxes.length === 1 ? objects.find(({ box }) => box === boxes[0]) : undefined;
  return object && (object.kind === 'letter' ? 'letter' : `${object.size} shape`);
}

/** Every object of the first scenes of a split: `boxes` asks where it is, `names` what is in its box. */
export function createBoxTask(what: 'boxes' | 'names', split: Split, scenes: number): Task {
  const all = Array.from({ length: scenes }, (_, index) => createScene(split, index));
  const type = what === 'boxes' ? 'locate' : 'identify';
  return {
    name: `${what} of the world, ${split} split, ${scenes} scenes`,
    scoring: what === 'boxes' ? 'boxes' : 'exact',
    pictures: all.map(pictureOf),
    blank,
    questions: all.flatMap((scene, picture) =>
      askBoxes(scene)
        .filter((question) => question.type === type)
        .map(({ id, question, answer, box }) => ({
          id,
          type,
          question,
          picture,
          ...(what === 'boxes'
            ? { answer: `${answer} [${box.join(', ')}]` }
            : { answer, numbers: [[...box]] }),
        })),
    ),
  };
}
