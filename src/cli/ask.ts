/** A question to a LLaVA, from the flags that ask it to what came of it. */
import type * as tf from '@tensorflow/tfjs-core';
import { typeOf, type LlavaConfig } from '../checkpoint/architecture.ts';
import type { Model } from '../checkpoint/load.ts';
import { parseBudget } from '../compress/budget.ts';
import type { FrameChoice } from '../compress/frames.ts';
import type { Method, MethodOptions } from '../compress/method.ts';
import { scoreByCls } from '../compress/score.ts';
import { formatTimes, placesOf } from '../decoder/number-token.ts';
import { UserError } from '../errors.ts';
import type { Views } from '../image/views.ts';
import type { LoadedPicture } from '../inputs.ts';
import { readCheckedConfig } from '../node/checkpoint.ts';
import { readQuestion } from '../node/inputs.ts';
import { clipFor } from '../node/shipped.ts';
import { prepareAnswer, readsQuestion, type Plan } from '../plan.ts';
import { answer, type Answer } from '../story.ts';
import { scope } from '../tensor/scope.ts';
import { createTrace, type RecordedTrace, type Step } from '../tensor/trace.ts';
import { writeAnswer } from '../text/spoken-numbers.ts';
import type { ImagePrompt } from '../text/prompt.ts';
import type { Tokenizer } from '../text/tokenizer.ts';
import { patchCount } from '../vision/config.ts';
import type { Box } from '../world/scene.ts';
import {
  askOf,
  readMethod,
  readSampling,
  type AskFlags,
  type MethodFlags,
  type SamplingFlags,
} from './options.ts';

/**
 * @param crops whether a LLaVA-NeXT will do, which sees a picture by its size
 * @throws UserError when the folder holds only a part of a LLaVA
 */
export async function readLlavaConfig(dir: string, { crops = false } = {}): Promise<LlavaConfig> {
  const architecture = await readCheckedConfig(dir);
  if (architecture.kind !== 'llava') {
    throw new UserError(`${dir} is a ${typeOf(architecture)} checkpoint; a LLaVA is needed here`);
  }
  if (architecture.image_grid_pinpoints && !crops) {
    throw new UserError(
      `${dir} is a LLaVA-NeXT, which sees crops of a picture: vtc run and vtc inspect take it, this command does not yet`,
    );
  }
  return architecture;
}

/** What the flags ask of a checkpoint, checked against its config. */
export interface Question {
  method: Method;
  options: MethodOptions;
  budget: number;
  prompt: ImagePrompt;
  plan: Plan;
  tokenizer: Tokenizer;
  /** The folder of a CLIP, where the method reads the question. */
  clip?: string;
}

/** How many pictures are asked about, and whether the budget is each one's; how one is seen. */
interface Clip {
  pictures?: number;
  frames?: FrameChoice;
  views?: Views;
}

/** @throws UserError for a method, option or budget that there is not, or a folder that cannot be asked in words */
export async function prepareQuestion(
  dir: string,
  config: LlavaConfig,
  flags: MethodFlags & AskFlags & { newTokens: number; box?: Box[] },
  { pictures = 1, frames, views }: Clip = {},
): Promise<Question> {
  const { method, options } = await readMethod(flags, config);
  const clip = readsQuestion(method) ? clipFor({ model: dir, clip: flags.clip }) : undefined;
  const budget = parseBudget(flags.keep, patchCount(config.vision) * (frames === 'all' ? pictures : 1));
  const { adds } = method;
  const asked = await readQuestion(dir, config, { ...askOf(flags), clip, adds, pictures });
  const { tokenizer } = asked;
  const prompt = { ...asked.prompt, numbers: flags.box };
  const { newTokens: maxNewTokens, positions } = flags;
  const chosen = { method, methodOptions: options, budget, positions, frames, views };
  const plan = prepareAnswer(config, chosen, [prompt], { maxNewTokens });
  checkBoxes(method, plan, prompt, tokenizer);
  return { method, options, budget, prompt, plan, tokenizer, clip };
}

/** @throws UserError for boxes that nothing stands for, or too few of them */
function checkBoxes(
  { name }: Method,
  { output }: Plan,
  { before, after, numbers = [] }: ImagePrompt,
  tokenizer: Tokenizer,
): void {
  if (!output) {
    if (numbers.length > 0) throw new UserError(`--box: ${name} has no word for a box; perceptiongpt has`);
    return;
  }
  const count = placesOf([[...before, ...after]], output).length;
  if (count === numbers.length) return;
  throw new UserError(
    `the prompt has ${tokenizer.tokenOf(output.id)} ${formatTimes(count)}, but --box is given ${formatTimes(numbers.length)}: one for each`,
  );
}

export interface QuestionResult {
  text: string;
  answer: Answer;
  steps: readonly Step[];
  /** How much [CLS] attends to each patch in the layers that the method reads, by layer: the mean over heads. */
  layerScores: Map<number, number[]>;
  /** Every W of the run, in data order, and whether [CLS] goes along. */
  matrices: RecordedTrace['matrices'];
  keepsCls: boolean;
}

/** One question to the model: run, decode the tokens to text. */
export async function answerQuestion(
  model: Model,
  picture: LoadedPicture,
  { plan, prompt, tokenizer }: Question,
  flags: SamplingFlags & { newTokens: number },
  onStep?: (step: Step) => void,
): Promise<QuestionResult> {
  using own = scope();
  const trace = own(createTrace((name) => name === 'vision.clsAttention.LL', { onStep }));
  const { stopTokens } = model;
  const options = {
    maxNewTokens: flags.newTokens,
    sampling: readSampling(flags),
    seed: flags.seed,
    stopTokens,
  };
  const answered = await answer(model.llava!, picture.pixels, [prompt], plan, { ...options, trace }); // as its config says
  const spoken = plan.output && { id: plan.output.id, numbers: answered.numbers![0] };
  const text = writeAnswer(tokenizer, answered.tokens[0], spoken);
  const { steps, matrices } = trace;
  return {
    text,
    answer: answered,
    steps,
    matrices,
    keepsCls: plan.keepsCls,
    layerScores: await headMeans(trace),
  };
}

async function headMeans({ tensors }: RecordedTrace): Promise<Map<number, number[]>> {
  using own = scope();
  const means = new Map<number, number[]>();
  for (const [key, row] of tensors) {
    const [mean] = await own(scoreByCls(row as tf.Tensor3D)).array(); // [P] of the one picture
    means.set(Number(key.split('.').at(-1)), mean);
  }
  return means;
}
