/** How a method and a model fit: what the method may know, what it asks for, what is refused before weights are read. */
import { visualTokenCount, type LlavaConfig } from './checkpoint/architecture.ts';
import { checkBudget, checkOptions } from './compress/checks.ts';
import type { DecoderSource, Method, MethodOptions, TowerAsk, TowerSource } from './compress/method.ts';
import {
  checkContext,
  checkDecoding,
  type DecodingOption,
  type GenerateOptions,
} from './decoder/generate.ts';
import type { LayerHook } from './decoder/state.ts';
import { UserError } from './errors.ts';
import { checkIds, type ImagePrompt } from './text/prompt.ts';
import { patchCount } from './vision/config.ts';
import type { MergeHook } from './vision/merging.ts';

/** A method as it is to be used. */
export interface ChosenMethod {
  method: Method;
  methodOptions: MethodOptions;
  /** U, how many patches to keep, 1 ≤ U ≤ P; a [CLS] that the checkpoint keeps is not counted. */
  budget: number;
}

/** RoPE positions after pruning: as if the dropped tokens had never been, or with gaps in their place. */
export const positionModes = ['contiguous', 'original'] as const;
export type Positions = (typeof positionModes)[number];

/**
 * What can be refused before the weights are loaded: options that the method cannot serve in this model, prompts that
 * one batch cannot hold, or that exceed the decoder's context however much is pruned.
 * @throws UserError
 */
export function checkVlm(
  config: LlavaConfig,
  prompts: ImagePrompt[],
  options: ChosenMethod & Pick<GenerateOptions, DecodingOption> & { positions?: Positions },
): void {
  const { method, methodOptions, budget, maxNewTokens, positions = 'contiguous' } = options;
  if (!positionModes.includes(positions)) {
    throw new UserError(`positions are ${positionModes.join(' or ')}, not ${JSON.stringify(positions)}`);
  }
  checkOptions(method, methodOptions);
  checkDecoding(options);
  checkBudget(method.name, budget, patchCount(config.vision));
  if (positions === 'original' && method.where === 'decoder') {
    throw new UserError(`--positions original: ${method.name} gives its tokens their positions itself`);
  }
  if (positions === 'original' && method.where === 'vision' && method.makesTokens) {
    throw new UserError(`--positions original: ${method.name} makes new tokens, which have no position`);
  }
  asksOf(config, { method, methodOptions });
  mergeOf(config, { method, methodOptions, budget });
  hookOf(config, { method, methodOptions, budget });
  if (prompts.length === 0) throw new UserError('a batch needs at least one prompt');
  if (readsQuestion(method)) {
    oneLayerOf(config, method.name);
    if (prompts.some(({ question }) => !question)) throw new UserError(`${method.name}: ${needsClip}`);
  }
  const lengths = prompts.map(({ before, after }) => before.length + after.length);
  if (new Set(lengths).size > 1) {
    throw new UserError(
      `the prompts of a batch differ in length without their picture: ${lengths.join(', ')}`,
    );
  }
  for (const { before, after } of prompts)
    checkIds([...before, ...after], config.text.vocab_size, 'the prompt');
  checkContext(config.text, lengths[0] + budget, maxNewTokens); // at least so many; prefill checks the exact number
}

/** Whether a method's choice depends on the question. */
export const readsQuestion = (method: Method): boolean => method.where === 'vision' && !!method.readsQuestion;

/**
 * What a method wants of the vision tower's inner tensors.
 * @throws UserError for options that the tower cannot serve
 */
export function asksOf(
  config: LlavaConfig,
  { method, methodOptions }: Omit<ChosenMethod, 'budget'>,
): TowerAsk {
  return method.where === 'vision' ? method.asks(describeSource(config), methodOptions) : {};
}

/**
 * What a method does inside the vision tower, where it does.
 * @throws UserError for a budget or options that the tower cannot serve
 */
export function mergeOf(
  config: LlavaConfig,
  { method, methodOptions, budget }: ChosenMethod,
): MergeHook | undefined {
  if (method.where !== 'vision' || !method.merge) return undefined;
  oneLayerOf(config, method.name);
  return method.merge(describeSource(config), budget, methodOptions);
}

/** @throws UserError for a method that must have its features from one layer, and a checkpoint that joins several */
function oneLayerOf({ vision_feature_layer: layers }: LlavaConfig, method: string): void {
  if (layers.length === 1) return;
  throw new UserError(
    `${method} needs the features of one layer, but this checkpoint joins hidden ${layers.join(', ')}`,
  );
}

/**
 * The cut between the decoder's layers, for a method that works there. The decoder takes a [CLS] that the checkpoint
 * keeps for one more visual token, so its share of the budget is one more too.
 * @throws UserError for a budget or options that the decoder cannot serve
 */
export function hookOf(
  config: LlavaConfig,
  { method, methodOptions, budget }: ChosenMethod,
): LayerHook | undefined {
  if (method.where !== 'decoder') return undefined;
  const source = describeSource(config);
  return method.hook(source, budget + source.visualTokens - patchCount(config.vision), methodOptions);
}

/** What a method may know of the model before it runs. */
export function describeSource(config: LlavaConfig): DecoderSource & TowerSource {
  return {
    patches: patchCount(config.vision),
    layers: config.vision.num_hidden_layers,
    // Loading turned −2 into an index from 0; hidden[i] is the output of layer i − 1.
    selectedLayer: Math.max(...config.vision_feature_layer) - 1,
    visualTokens: visualTokenCount(config),
    decoderLayers: config.text.num_hidden_layers,
    decoderWidth: config.text.hidden_size,
  };
}

/** Whether [CLS] goes along with the patches. */
export const keepsCls = (config: LlavaConfig) => config.vision_feature_select_strategy === 'full';

export const needsClip =
  "the question is read by CLIP's text tower: name a CLIP of the same vision tower with --clip";
