/** Every method on one picture and one question, beside the model without any. */
import type * as tf from '@tensorflow/tfjs-core';
import type { Llava } from '../../checkpoint/load.ts';
import { MethodFault } from '../../compress/checked.ts';
import { none } from '../../compress/none.ts';
import { spliceImage } from '../../decoder/splice.ts';
import { UserError } from '../../errors.ts';
import { prepareAnswer } from '../../plan.ts';
import { project } from '../../projector.ts';
import { answer, choose, see } from '../../story.ts';
import { scope } from '../../tensor/scope.ts';
import { createTrace } from '../../tensor/trace.ts';
import type { ImagePrompt } from '../../text/prompt.ts';
import { patchCount } from '../../vision/config.ts';
import { followPatches } from './follow.ts';
import { answerProbability, type AskedAnswer } from './probability.ts';
import type { Variant } from './variant.ts';

export interface ComparedQuestion {
  pixels: tf.Tensor4D; // [1, S, S, 3], preprocessed
  prompt: ImagePrompt;
  /** U, patches to keep. */
  budget: number;
  maxNewTokens: number;
  stopTokens: readonly number[];
}

/** What a method made of the question. */
export interface Compared {
  variant: Variant;
  tokens: number[];
  /** Of the unpruned model's answer, its end included. */
  probability: number;
  /** From pixels to answer, by the clock: the median of three rounds, where all methods' take less than ten seconds. */
  milliseconds: number;
  layerTokens: number[];
  /** Patches that the last decoder layer still sees as themselves. */
  kept: number[];
  /** Tokens that are no patch of their own: means, merged ones. */
  made: number;
  /** Where there are such: for each patch the token that it is the largest part of, −1 for none. */
  groups?: number[];
}

/** A method that this model or budget cannot have. */
export interface Refused {
  variant: Variant;
  reason: string;
}

export const wasRefused = (row: Compared | Refused): row is Refused => 'reason' in row;
export const wasAnswered = (row: Compared | Refused): row is Compared => !wasRefused(row);

/** The unpruned model, as a variant. */
const unpruned: Variant = {
  method: none,
  methodOptions: {},
  positions: 'contiguous',
  name: none.name,
  series: none.name,
};

/**
 * @param onMethod called with the number of methods done
 * @throws UserError when even the unpruned model cannot answer
 */
export async function compareMethods(
  model: Llava,
  question: ComparedQuestion,
  variants: readonly Variant[],
  onMethod?: (done: number) => void,
): Promise<(Compared | Refused)[]> {
  const whole = { ...question, budget: patchCount(model.config.vision) };
  const { tokens } = await answerOnce(model, whole, unpruned);
  const ended = tokens.length < question.maxNewTokens;
  const asked: AskedAnswer = { tokens, stopTokens: ended ? question.stopTokens : [] };
  const rows: (Compared | Refused)[] = [await compareOne(model, whole, unpruned, asked)];
  for (const variant of variants) {
    onMethod?.(rows.length);
    if (variant.method === none) continue;
    try {
      rows.push(await compareOne(model, question, variant, asked));
    } catch (error) {
      if (!(error instanceof UserError) || error instanceof MethodFault) throw error;
      rows.push({ variant, reason: error.message });
    }
  }
  await measureTimes(
    rows.filter(wasAnswered).map((row, i) => ({
      row,
      again: () => answerOnce(model, i === 0 ? whole : question, row.variant),
    })),
  );
  return rows;
}

/** Everything is warm by now: in rounds over all methods, so that what else the machine does falls on all alike. */
async function measureTimes(rows: { row: Compared; again: () => Promise<Answered> }[]): Promise<void> {
  const times = rows.map((): number[] => []);
  const round = rows.reduce((sum, { row }) => sum + row.milliseconds, 0);
  for (let rounds = 0; rounds < 3 && (rounds + 1) * round < 10_000; rounds++) {
    for (const [i, { again }] of rows.entries()) times[i].push((await again()).milliseconds);
  }
  for (const [i, { row }] of rows.entries()) {
    const sorted = times[i].sort((a, b) => a - b);
    if (sorted.length > 0) row.milliseconds = sorted[Math.floor(sorted.length / 2)];
  }
}

interface Answered {
  tokens: number[];
  layerTokens: number[];
  milliseconds: number;
}

const planOf = (
  { config }: Llava,
  { prompt, budget, maxNewTokens, stopTokens }: ComparedQuestion,
  variant: Variant,
) => prepareAnswer(config, { ...variant, budget }, [prompt], { maxNewTokens, stopTokens });

/** From pixels to answer, by the clock. */
async function answerOnce(model: Llava, question: ComparedQuestion, variant: Variant): Promise<Answered> {
  const plan = planOf(model, question, variant);
  const begun = performance.now();
  const answered = await answer(model, question.pixels, [question.prompt], plan, question);
  const milliseconds = performance.now() - begun;
  return { tokens: answered.tokens[0], layerTokens: answered.prefillLengths, milliseconds };
}

/** Answers, then reads the prompt once more with the unpruned model's answer behind it, watched. */
async function compareOne(
  model: Llava,
  question: ComparedQuestion,
  variant: Variant,
  asked: AskedAnswer,
): Promise<Compared> {
  const answered = await answerOnce(model, question, variant);
  using own = scope();
  const { prompt, pixels } = question;
  const plan = planOf(model, question, variant);
  const trace = createTrace(() => false);
  const seen = own(await see(model, pixels, plan, trace));
  const { tokens, places } = own(await choose(model, seen, plan, trace));
  const { projector, decoder } = { ...model, ...plan.brings };
  const input = own(spliceImage(decoder, [prompt], own(project(projector, tokens)), places, plan.output));
  const probability = await answerProbability(decoder, input, asked, plan.between?.(), trace);
  const [{ kept, made, groups }] = followPatches(trace.matrices.values(), plan.keepsCls);
  return { variant, ...answered, probability, kept, made, groups: made > 0 ? groups : undefined };
}
