/** How a method and a model fit: everything that can be refused is refused here, before weights are read. */
import { visualTokenCount, type LlavaConfig } from './checkpoint/architecture.ts';
import { checkJoined, joinSource, type FrameChoice } from './compress/frames.ts';
import type { Method, MethodOptions, Resources, Source, Stages, TowerNeeds } from './compress/method.ts';
import { keepAll } from './compress/none.ts';
import { prepareMethod } from './compress/prepare.ts';
import {
  checkContext,
  checkDecoding,
  type DecodingOption,
  type GenerateOptions,
} from './decoder/generate.ts';
import { UserError } from './errors.ts';
import type { Views } from './image/views.ts';
import { checkBudget } from './compress/checks.ts';
import { viewedBudget, viewedSource } from './compress/views.ts';
import { checkIds, countPictures, textOf, type ImagePrompt } from './text/prompt.ts';
import { patchCount, prefixTokens } from './vision/config.ts';

/** RoPE positions after pruning: as if the dropped tokens had never been, or with gaps in their place. */
export const positionModes = ['contiguous', 'original'] as const;
/** One of {@link positionModes}. */
export type Positions = (typeof positionModes)[number];

/** A method as it is to be used. */
export interface ChosenMethod {
  method: Method;
  methodOptions: MethodOptions;
  /**
   * U, how many patches to keep, 1 ≤ U ≤ P; a [CLS] that the checkpoint keeps is not counted. Of a picture that is seen as V
   * views it is each one's on average: min(U·V, P + R·C) of its patches stay, and the newlines of its rows beside them.
   */
  budget: number;
  /** How the picture is seen, of a checkpoint that sees it as several; see {@link viewsOf}. */
  views?: Views;
  /** Contiguous where it is left out. */
  positions?: Positions;
  /** Of prompts with several pictures; each where it is left out. */
  frames?: FrameChoice;
}

/** What happens to the picture's tokens at each stage, for one model, method and budget. */
export interface Plan extends Stages {
  needs: TowerNeeds;
  choose: NonNullable<Stages['choose']>;
  /** Whether the method chooses among patches before the decoder, not only elsewhere, and makes no new tokens. */
  picks: boolean;
  /** Whether the checkpoint's own [CLS] goes along with the patches. */
  keepsCls: boolean;
  /** The uncut picture's tokens in the prompt, where kept ones take the positions that they had there. */
  originalLength?: number;
  /** F, where the method takes a prompt's F pictures for one. */
  together?: number;
  /** How the picture is seen, where it is seen as several. */
  views?: Views;
}

/**
 * A method's plan for a model.
 * @throws UserError for a budget, options, positions or resources that cannot serve
 */
export function prepare(config: LlavaConfig, chosen: ChosenMethod, resources: Resources = {}): Plan {
  const { method, methodOptions, positions = 'contiguous', frames = 'each', views } = chosen;
  const F = resources.frames ?? 1;
  checkViews(config, views, F);
  if (!positionModes.includes(positions)) {
    throw new UserError(`positions are ${positionModes.join(' or ')}, not ${JSON.stringify(positions)}`);
  }
  const together = F > 1 && frames === 'all';
  const one = describeSource(config);
  if (views) checkBudget(method.name, chosen.budget, one.patches);
  const budget = views ? viewedBudget(chosen.budget, views) : chosen.budget;
  const source = together ? joinSource(one, F) : views ? viewedSource(one, views) : { ...one, frames: F };
  const brought = together ? resources : ofEachFrame(resources, F);
  const stages = prepareMethod(method, source, budget, methodOptions, brought);
  if (together) checkJoined(method, stages, keepsCls(config));
  if (positions === 'original' && F > 1) {
    throw new UserError(`--positions original is for one picture, and here are ${F}`);
  }
  if (positions === 'original' && method.stages[0] === 'between') {
    throw new UserError(`--positions original: ${method.name} gives its tokens their positions itself`);
  }
  if (positions === 'original' && method.makesTokens) {
    throw new UserError(`--positions original: ${method.name} makes new tokens, which have no position`);
  }
  return {
    needs: {},
    choose: keepAll,
    ...stages,
    picks: stages.choose !== undefined && !method.makesTokens,
    keepsCls: keepsCls(config),
    originalLength: positions === 'original' ? visualTokenCount(config, views) : undefined,
    together: together ? F : undefined,
    views,
  };
}

/**
 * The plan for some prompts, with their questions and their pictures' numbers; refused is also what the decoder cannot
 * read, or write after it.
 * @throws UserError for what {@link prepare} refuses, prompts that one batch cannot hold, or that exceed the decoder's
 *   context however much is pruned
 */
export function prepareAnswer(
  config: LlavaConfig,
  chosen: ChosenMethod,
  prompts: readonly ImagePrompt[],
  decoding: Pick<GenerateOptions, DecodingOption>,
  pictures?: readonly number[],
): Plan {
  checkDecoding(decoding);
  const plan = prepare(config, chosen, resourcesOf(prompts, pictures));
  if (prompts.length === 0) throw new UserError('a batch needs at least one prompt');
  const lengths = prompts.map((prompt) => textOf(prompt).length);
  if (new Set(lengths).size > 1) {
    throw new UserError(
      `the prompts of a batch differ in length without their picture: ${lengths.join(', ')}`,
    );
  }
  const counts = prompts.map(countPictures);
  if (new Set(counts).size > 1) {
    throw new UserError(
      `the prompts of a batch have ${counts.join(', ')} pictures: they must have equally many`,
    );
  }
  if (plan.output && counts[0] > 1) {
    throw new UserError(`${chosen.method.name} is for one picture, and here are ${counts[0]}`);
  }
  const { vocab_size } = plan.brings?.decoder?.config ?? config.text;
  for (const prompt of prompts) checkIds(textOf(prompt), vocab_size, 'the prompt');
  const { budget, views } = chosen;
  const visual = views ? viewedBudget(budget, views) + views.rows : budget * (plan.together ? 1 : counts[0]);
  const least = lengths[0] + visual; // prefill checks exactly
  checkContext(config.text, least, decoding.maxNewTokens);
  return plan;
}

/** @throws UserError unless a picture is seen as the checkpoint sees it */
function checkViews({ image_grid_pinpoints: crops }: LlavaConfig, views: Views | undefined, F: number): void {
  if (!crops && views) throw new UserError('this checkpoint sees a picture as one, not as several views');
  if (crops && F > 1)
    throw new UserError(`LLaVA-NeXT sees one picture as several; ${F} of a prompt are not supported`);
  if (crops && !views)
    throw new UserError('LLaVA-NeXT sees a picture by its size: which views it has must be told');
}

/** What prompts bring to a method: the questions, where each has one, and their pictures' numbers. */
export function resourcesOf(prompts: readonly ImagePrompt[], pictures?: readonly number[]): Resources {
  const questions = prompts.flatMap(({ question }) => (question ? [question] : []));
  const frames = prompts.length > 0 ? countPictures(prompts[0]) : 1;
  return { pictures, frames, ...(questions.length === prompts.length && { questions }) };
}

/** A clip's question is the question of each of its F frames. */
const ofEachFrame = ({ questions, ...resources }: Resources, F: number): Resources => ({
  ...resources,
  ...(questions && { questions: questions.flatMap((question) => Array.from({ length: F }, () => question)) }),
});

/** Whether a method's choice depends on the question. */
export const readsQuestion = ({ resources = [] }: Method): boolean => resources.includes('questions');

/** What a method may know of the model before it runs. */
export function describeSource(config: LlavaConfig): Source {
  const patches = patchCount(config.vision);
  return {
    layers: config.vision.num_hidden_layers,
    // Loading turned −2 into an index from 0; hidden[i] is the output of layer i − 1.
    selectedLayer: Math.max(...config.vision_feature_layer) - 1,
    featureLayers: config.vision_feature_layer,
    prefixTokens: prefixTokens(config.vision),
    patches,
    grid: Math.sqrt(patches),
    visualTokens: visualTokenCount(config),
    decoderLayers: config.text.num_hidden_layers,
  };
}

/** Whether [CLS] goes along with the patches. */
const keepsCls = (config: LlavaConfig) => visualTokenCount(config) > patchCount(config.vision);
