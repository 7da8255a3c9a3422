/** Questions about scenes that the model has never seen, asked under a method: for the chapters that measure. */
import type { Llava } from '../checkpoint/load.ts';
import type { CompressedPictures } from '../compress/compress.ts';
import { isRight, withInterval } from '../eval/task/score.ts';
import { prepare, type ChosenMethod } from '../plan.ts';
import { choose, reply, see } from '../story.ts';
import { scope } from '../tensor/scope.ts';
import { askScene, type Question } from '../world/questions.ts';
import { createScene } from '../world/scene.ts';
import { ask, llava, percent, pixelsOf, tokenizer } from './desk.ts';

export type Answered = Pick<Question, 'type' | 'answer'> & { said: string; right: boolean };

/** What becomes of a compressed picture before the projector. The tensors it makes go with the chapter. */
export type Change = (picture: CompressedPictures) => Pick<CompressedPictures, 'tokens'>;

export interface ExamOptions {
  /** How many scenes of the test split, from its first. */
  scenes: number;
  change?: Change;
  /** Another decoder behind the same tower. */
  model?: Llava;
}

/**
 * Asks about each scene one question of each type that it allows: colour, shape, size, existence, count, quadrant, relation,
 * letter. All answers are one word, and each word is one token.
 */
export async function examine(
  chosen: ChosenMethod,
  { scenes, change, model = llava }: ExamOptions,
): Promise<Answered[]> {
  const answered: Answered[] = [];
  for (let index = 0; index < scenes; index++) {
    using own = scope();
    const scene = createScene('test', index);
    const plan = prepare(model.config, chosen, { pictures: [index] }); // random draws by the picture's number
    const seen = own(await see(model, own(pixelsOf(scene)), plan));
    const compressed = own(await choose(model, seen, plan));
    const picture = change ? change(compressed) : compressed;
    for (const { type, question, answer } of askScene(scene)) {
      const { tokens } = await reply(model, picture, [ask(question)], plan, { maxNewTokens: 1 });
      const said = tokenizer.decode(tokens[0]).trim();
      answered.push({ type, answer, said, right: isRight(said, answer) });
    }
  }
  return answered;
}

export const countRight = (answered: readonly Answered[]): number =>
  answered.filter(({ right }) => right).length;

/** The share of right answers. */
export const accuracy = (answered: readonly Answered[]): number => countRight(answered) / answered.length;

/** `50 of 56 right, 89.3 % [78.5, 95.0]`, with the 95 % interval, the questions taken for independent. */
export function writeShare(answered: readonly Answered[]): string {
  const { n, accuracy: share, low, high } = withInterval(accuracy(answered), answered.length);
  const [from, to] = [low, high].map((bound) => (100 * bound).toFixed(1));
  return `${countRight(answered)} of ${n} right, ${percent(share)} [${from}, ${to}]`;
}
