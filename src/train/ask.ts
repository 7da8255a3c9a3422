import type { LlavaConfig } from '../checkpoint/architecture.ts';
import { UserError } from '../errors.ts';
import { readAsker } from '../node/inputs.ts';
import { captionScene } from '../world/caption.ts';
import type { Question } from '../world/questions.ts';
import type { Scene } from '../world/scene.ts';
import type { AskedTokens } from './pack.ts';

/** Questions as token ids: the prompt that inference builds, cut at the picture, and the answer with its end. */
export interface TrainingPrompts {
  /** What stands before the picture, the same for all questions. */
  before: number[];
  tokens: (question: Pick<Question, 'question' | 'answer'>) => AskedTokens;
  /** `what is there ?` and the scene's caption, its objects in the order of reading. */
  describe: (scene: Scene) => AskedTokens;
  /** Any question with an answer of several words. */
  say: (question: string, words: string) => AskedTokens;
  /** A token for places that nothing sees. */
  filler: number;
}

/**
 * @param adds words behind the model's own
 * @throws UserError for a folder whose template or tokenizer cannot serve the questions
 */
export async function readTrainingPrompts(
  dir: string,
  config: LlavaConfig,
  adds: readonly string[] = [],
): Promise<TrainingPrompts> {
  const { ask, tokenizer } = await readAsker(dir, config, { adds });
  const end = config.text.eos_token_id[0];
  const known = new Map<string, number[]>(); // the world asks few different questions, again and again
  const remember = (question: string): number[] => {
    const ids = known.get(question) ?? ask(question).after;
    known.set(question, ids);
    return ids;
  };
  const say = (question: string, words: string): AskedTokens => ({
    ask: remember(question),
    answer: [...tokenizer.encodePlain(words), end],
  });
  return {
    before: ask('?').before,
    filler: end,
    tokens: ({ question, answer }) => {
      const said = say(question, answer);
      const count = said.answer.length - 1;
      if (count !== 1) throw new UserError(`the answer "${answer}" is ${count} tokens, not one`);
      return said;
    },
    describe: ({ objects }) => {
      const read = objects.toSorted(({ box: [ax, ay] }, { box: [bx, by] }) => ay - by || ax - bx);
      return say('what is there ?', captionScene({ objects: read }));
    },
    say,
  };
}
