/** What is asked about clips: what happened between the frames. No frame alone tells it. */
import { pick, type Random } from '../random.ts';
import { directions, mostSteps, type Clip, type ClipThing, type Doing } from './clip.ts';
import { counts } from './questions.ts';
import { colourNames, shapes, side, type Box } from './things.ts';

// prettier-ignore
export const clipQuestionTypes = [
  'moves-colour', 'moves-shape', 'direction', 'steps',
  'appears-colour', 'appears-shape', 'vanishes-colour', 'vanishes-shape',
] as const;
export type ClipQuestionType = (typeof clipQuestionTypes)[number];

/** The words of clips that scenes do without. */
export const clipWords: readonly string[] = ['moves', 'appears', 'vanishes'];

/** Every answer that a question of a type may have. */
export const clipChoices: Record<ClipQuestionType, readonly string[]> = {
  'moves-colour': colourNames,
  'moves-shape': shapes,
  'direction': directions,
  'steps': counts.slice(0, mostSteps),
  'appears-colour': colourNames,
  'appears-shape': shapes,
  'vanishes-colour': colourNames,
  'vanishes-shape': shapes,
};

export interface ClipQuestion {
  /** The clip's id and a number, such as `test-clip-000123-q4`. */
  id: string;
  type: ClipQuestionType;
  question: string;
  /** One word. */
  answer: string;
}

/** One question of each type that the clip allows. */
export function askClip(clip: Clip): ClipQuestion[] {
  const asked: [ClipQuestionType, string, string][] = [];
  for (const doing of ['moves', 'appears', 'vanishes'] as const) {
    const thing = thingThat(clip, doing);
    if (!thing) continue;
    asked.push(
      [`${doing}-colour`, `what color ${doing} ?`, thing.look.colour],
      [`${doing}-shape`, `what shape ${doing} ?`, thing.look.kind],
    );
  }
  asked.push(
    ['direction', 'where moves the object ?', clip.direction],
    ['steps', 'how many moves ?', counts[clip.steps - 1]],
  );
  return asked.map(([type, question, answer], i) => ({ id: `${clip.id}-q${i}`, type, question, answer }));
}

/** The thing that moves, that comes or that goes; undefined where none does. */
export const thingThat = ({ things }: Clip, doing: Doing): ClipThing | undefined =>
  things.find((thing) => thing.doing === doing);

/** All that happens, in words: `a small red circle moves left two , a large blue square appears`. */
export function describeClip(clip: Clip): string {
  return (['moves', 'appears', 'vanishes'] as const)
    .flatMap((doing) => {
      const thing = thingThat(clip, doing);
      if (!thing) return [];
      const { size, colour, kind } = thing.look;
      const how = doing === 'moves' ? ` ${clip.direction} ${counts[clip.steps - 1]}` : '';
      return [`a ${size} ${colour} ${kind} ${doing}${how}`];
    })
    .join(' , ');
}

/**
 * For each frame the word that its cells have to tell, from the moment that it happened on: `appears` where a thing has come;
 * of one that has moved whither or how often, and of one that has gone its color or its shape, either as likely. Most have nothing.
 * @param across cells a side
 * @returns [frames][across²], row after row
 */
export function tellFrames(clip: Clip, across: number, random: Random): (string | undefined)[][] {
  const size = side / across;
  return Array.from({ length: clip.frames }, (_, frame) => {
    const told: (string | undefined)[] = Array.from({ length: across * across });
    for (const thing of clip.things) {
      const { words, box } = tellThing(clip, thing, frame);
      if (!box) continue;
      const [x0, y0, x1, y1] = box;
      for (let y = Math.floor(y0 / size); y < y1 / size; y++) {
        for (let x = Math.floor(x0 / size); x < x1 / size; x++) told[y * across + x] = pick(random, words);
      }
    }
    return told;
  });
}

/** What there is to tell of a thing in a frame, and the box that tells it: of one that has gone where it was. */
function tellThing(
  { direction }: Clip,
  { doing, look, boxes }: ClipThing,
  frame: number,
): { words: readonly string[]; box?: Box } {
  const now = boxes[frame];
  if (doing === 'appears') return { words: [doing], box: now };
  if (doing === 'vanishes' && !now) return { words: [look.colour, look.kind], box: boxes[0] };
  const steps = new Set(boxes.slice(0, frame + 1).map(String)).size - 1;
  return doing === 'moves' && steps > 0 ? { words: [direction, counts[steps - 1]], box: now } : { words: [] };
}
