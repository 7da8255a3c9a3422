import { InvalidArgumentError, Option, type Command } from 'commander';
import type { MethodOptions, Method } from '../compress/method.ts';
import { methodOptions, methods, systems } from '../compress/registry.ts';
import type { Sampling } from '../decoder/sample.ts';
import type { ModelConfigs } from '../compress/trained/system.ts';
import { UserError } from '../errors.ts';
import { locateModel } from '../node/hub-cache.ts';
import { keepings, type Keeping } from '../checkpoint/keeping.ts';
import { methodFinder } from '../node/method-file.ts';
import { backendNames } from '../backend/start.ts';
import type { Box } from '../world/scene.ts';

/** Options that several commands share, each defined once. */

export interface BackendOption {
  backend: string;
}

export function addBackend(command: Command): Command {
  return command.option(
    '--backend <name>',
    `auto, ${backendNames.join(', ')}; auto takes the first that runs of all but webgpu`,
    'auto',
  );
}

/** How a command's models are kept in memory. */
export interface LoadFlags extends BackendOption {
  weightsAs?: Keeping;
}

/** For commands that load a model of the user's. */
export function addLoading(command: Command): Command {
  return addBackend(command).addOption(
    new Option(
      '--weights-as <form>',
      'float32; stored, 16-bit weights as the file holds them, which is the default where float32 would not fit well; ' +
        "streamed, the decoder's layers read from disk in each pass, for machines with less memory",
    ).choices(keepings),
  );
}

/** How to ask: a question, or other words than the folder's template would make of it. */
export interface AskFlags {
  question?: string;
  prompt?: string;
  template?: string;
}

export function addAsk(command: Command): Command {
  return addTemplate(
    command
      .option('--question <text>', 'what to ask')
      .option('--prompt <text>', 'the whole prompt instead, <image> where the picture goes'),
  );
}

/** Only how to ask, of all that a command was given. */
export const askOf = ({ question, prompt, template }: AskFlags): AskFlags => ({ question, prompt, template });

export function addTemplate(command: Command): Command {
  return command.option('--template <file>', "a Jinja chat template to ask by, instead of the folder's own");
}

/** For methods that read the question; see {@link clipFor}. */
export function addClip(command: Command): Command {
  return command.option(
    '--clip <dir>',
    "the CLIP that the model's vision tower comes from, for methods that read the question (cdpruner); " +
      'the default model has one',
  );
}

/** For systems that were trained. */
export function addWeights(command: Command): Command {
  return command.option(
    '--weights <dir>',
    `the folder of trained systems' weights (${systems.map(({ name }) => name).join(', ')}); the default comes with this program`,
  );
}

export interface MethodFlags {
  method: string;
  weights?: string;
  clip?: string;
  keep: string;
  layers?: string;
  ensemble?: string;
  option: string[];
  positions: 'contiguous' | 'original';
}

export function addMethod(command: Command): Command {
  return addWeights(addClip(command))
    .option(
      '--method <name>',
      `compression method: ${[...methods, ...systems].map((m) => m.name).join(', ')}; several in data order, as vtc-cls+fastv; ` +
        'or a file with one of your own, as ./mine.ts',
      'vtc-cls',
    )
    .option('--keep <U>', 'visual tokens to keep: a count, a ratio such as 0.25, or a percentage', '25%')
    .option('--layers <K>', 'layers in the ensemble (vtc-cls, hybrid)')
    .option('--ensemble <name>', 'sum, mean, max, min or rank-mean (vtc-cls)')
    .option('-o, --option <name=value>', "an option of the method's own; repeatable", collect, [])
    .addOption(
      new Option('--positions <mode>', 'positions of the kept tokens in the prompt')
        .choices(['contiguous', 'original'])
        .default('contiguous'),
    );
}

/** The method that the flags name, built-in or in a file, and its options. */
export async function readMethod(
  flags: MethodFlags,
  config?: ModelConfigs,
): Promise<{ method: Method; options: MethodOptions }> {
  const [name, ...pairs] = flags.method.split(':');
  const method = (await methodFinder([name], { config, weights: flags.weights }))(name);
  const bad = pairs.find((pair) => !/^[^=]+=/.test(pair));
  if (bad !== undefined) throw new UserError(`--method ${flags.method}: "${bad}" should be name=value`);
  const given = Object.fromEntries(
    [...pairs, ...flags.option].map((pair) => pair.split(/=(.*)/s, 2) as [string, string]),
  );
  if (flags.layers !== undefined) given['layers'] = flags.layers;
  if (flags.ensemble !== undefined) given['ensemble'] = flags.ensemble;
  return { method, options: methodOptions(method, given) };
}

export interface SamplingFlags {
  temperature: number;
  topK: number;
  topP: number;
  seed: number;
}

export function addSampling(command: Command): Command {
  return command
    .option('--temperature <t>', '0 takes the likeliest token; above 0 tokens are drawn', readNumber(0), 0)
    .option('--top-k <k>', 'draw among the k likeliest tokens; 0 for all', readInteger(0), 0)
    .option('--top-p <p>', 'draw among the fewest tokens that reach probability p', readNumber(0, 1), 1)
    .option('--seed <n>', 'seed of the draws', readInteger(0), 0);
}

export function readSampling({ temperature, topK, topP }: SamplingFlags): Sampling {
  return { temperature, topK, topP };
}

/** Parses a whole number of at least `least`. */
export function readInteger(least: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() === '' || !Number.isSafeInteger(value) || value < least) {
      throw new InvalidArgumentError(`It should be a whole number of at least ${least}.`);
    }
    return value;
  };
}

function readNumber(least: number, most = Infinity): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() === '' || !Number.isFinite(value) || value < least || value > most) {
      const range = most === Infinity ? `of at least ${least}` : `between ${least} and ${most}`;
      throw new InvalidArgumentError(`It should be a number ${range}.`);
    }
    return value;
  };
}

/** `1,299,5` → ids */
export function readIds(text: string): number[] {
  const ids = text.split(',').map((part) => (/^\s*\d+\s*$/.test(part) ? Number(part) : NaN));
  if (ids.some(Number.isNaN)) throw new InvalidArgumentError('It should be token ids with commas between.');
  return ids;
}

/** `0.1,0.2,0.25,0.35` and those before it. */
export function collectBox(text: string, all: Box[] = []): Box[] {
  const numbers = text.split(',').map((part) => (part.trim() === '' ? NaN : Number(part)));
  const [x0, y0, x1, y1] = numbers;
  if (numbers.length !== 4 || !numbers.every((x) => x >= 0 && x <= 1) || x0 >= x1 || y0 >= y1) {
    throw new InvalidArgumentError('It should be x0,y0,x1,y1 from 0 to 1, the upper left corner first.');
  }
  return [...all, [x0, y0, x1, y1]];
}

function collect(value: string, all: string[]): string[] {
  if (!/^[^=]+=/.test(value)) throw new InvalidArgumentError('It should be name=value.');
  return [...all, value];
}

/**
 * An empty name of a file or folder is most often a shell's variable that was not set: it is never what was meant.
 * @throws UserError naming the option
 */
export function refuseEmptyPaths(command: Command): void {
  const values = command.opts();
  const given: [string, unknown][] = [
    ...command.options.map((option): [string, unknown] => [option.flags, values[option.attributeName()]]),
    ...command.registeredArguments.map((argument, i): [string, unknown] => [
      `<${argument.name()}>`,
      command.processedArgs[i],
    ]),
  ];
  for (const [flags, value] of given) {
    if (/<(dir|file)(\.\.\.)?>/.test(flags) && [value].flat().includes('')) {
      throw new UserError(`${flags} is empty: name a file or folder`);
    }
  }
}

/**
 * In place of `--model org/name` and `--clip org/name` their folders in Hugging Face's cache.
 * @throws UserError where it has no such model
 */
export async function locateModels(command: Command): Promise<void> {
  for (const name of ['model', 'clip']) {
    const source = command.getOptionValueSource(name);
    if (source !== 'cli') continue;
    const given = command.getOptionValue(name) as string | string[];
    const found = Array.isArray(given)
      ? await Promise.all(given.map((one) => locateModel(one)))
      : await locateModel(given);
    command.setOptionValueWithSource(name, found, source);
  }
}
