/** Methods as the evaluation is given them: `vtc-cls:layers=1:positions=original`. */
import type { Method } from '../../compress/method.ts';
import {
  all,
  allTrained,
  findMethod,
  llavaSystems,
  methodOptions,
  methods,
} from '../../compress/registry.ts';
import { UserError } from '../../errors.ts';
import { positionModes, type ChosenMethod, type Positions } from '../../plan.ts';

/** A method with its options: a line of the table. */
export interface Variant extends Omit<ChosenMethod, 'budget'> {
  positions: Positions;
  /** The method and what differs from its defaults, in the form it is given in. */
  name: string;
  /** The same without a seed: what is one line in the table, a mean over seeds. */
  series: string;
}

/**
 * Reads a list of variants, with commas between. Each is a method's name and `:name=value` for each option;
 * `positions` is an option of every one. `all` stands for every method with its defaults, `trained` for
 * every system that was trained, `all+NAME` for each of them stacked with one more.
 * @param find finds a method by its name
 * @param seeds a method with a seed becomes so many variants, under 0, 1, …, where its seed is not given
 * @throws UserError for a method, option or value that there is not, and for a variant given twice
 */
export function parseVariants(list: string, seeds = 1, find: FindMethod = findMethod): Variant[] {
  const parse = (text: string) => parseVariant(text, find);
  const texts = list.split(',').map((text) => text.trim());
  const asked = texts.flatMap(spellOut);
  refuseTwice(asked.map(parse));
  const seeded = asked.flatMap((text) => {
    const takesSeed = 'seed' in parse(text).method.defaults && !/:seed=/.test(text);
    return takesSeed ? Array.from({ length: seeds }, (_, seed) => `${text}:seed=${seed}`) : [text];
  });
  return [...new Map(seeded.map(parse).map((variant) => [variant.name, variant])).values()];
}

type FindMethod = (name: string) => Method;

/** Names that stand for several. */
const groups: Record<string, readonly { name: string }[] | undefined> = {
  [all]: methods,
  [allTrained]: llavaSystems,
};

/** The names that a name stands for; none, which is not stacked, leaves the others. */
function spellOut(text: string): string[] {
  const [first, ...rest] = text.split('+');
  const names = groups[first]?.map(({ name }) => (name === 'none' && rest.length > 0 ? [] : [name]));
  return names?.map((name) => [...name, ...rest].join('+')) ?? [text];
}

/** Whether a list asks for every method of a kind. */
export const namesAll = (list: string): boolean =>
  list.split(',').some((text) => text.trim().split('+')[0] in groups);

/** What a variant's answers are kept under: an edited file is another method. */
export const keyOf = ({ name, method: { digest } }: Variant): string => (digest ? `${name}:${digest}` : name);

/** Whether a variant is its method with its defaults, but for a seed. */
export const isPlain = ({ series, method }: Variant): boolean => series === method.name;

function refuseTwice(variants: readonly Variant[]): void {
  const again = variants.find(({ name }, i) => variants.findIndex((other) => other.name === name) !== i);
  if (again) throw new UserError(`--methods names ${again.name} twice`);
}

function parseVariant(text: string, find: FindMethod): Variant {
  const [methodName, ...pairs] = text.split(':');
  const method = find(methodName);
  const given: Record<string, string> = {};
  for (const pair of pairs) {
    const match = /^([^=]+)=(.*)$/s.exec(pair);
    if (!match) throw new UserError(`--methods ${text}: "${pair}" should be name=value`);
    given[match[1]] = match[2];
  }
  const { positions: positionsText = 'contiguous', ...own } = given;
  const positions = positionModes.find((mode) => mode === positionsText);
  if (!positions) throw new UserError(`--methods ${text}: positions are ${positionModes.join(' or ')}`);
  const options = methodOptions(method, own);
  const told = Object.entries(options).filter(([name, value]) => value !== method.defaults[name]);
  if (positions !== 'contiguous') told.push(['positions', positions]);
  const nameOf = (pairs: [string, string | number][]) =>
    [method.name, ...pairs.map(([name, value]) => `${name}=${value}`)].join(':');
  return {
    method,
    methodOptions: options,
    positions,
    name: nameOf(told),
    series: nameOf(told.filter(([name]) => name !== 'seed')),
  };
}
