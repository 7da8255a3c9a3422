import { UserError } from '../errors.ts';
import { dyvte } from './trained/dyvte.ts';
import { perceptionGpt } from './trained/perceptiongpt.ts';
import { setok } from './trained/setok.ts';
import { vistog } from './trained/vistog.ts';
import type { AnySystem } from './trained/system.ts';
import { videoLlmMod } from './trained/videollm-mod.ts';
import { cdPruner } from './cdpruner.ts';
import { divPrune } from './divprune.ts';
import { downsample } from './downsample.ts';
import { dpcKnn } from './dpc-knn.ts';
import { fasterVlm } from './fastervlm.ts';
import { fastv } from './fastv.ts';
import { fopru } from './fopru.ts';
import { hired } from './hired.ts';
import { hybrid } from './hybrid.ts';
import { llavolta } from './llavolta.ts';
import type { Method, MethodOptions } from './method.ts';
import { none } from './none.ts';
import { pooling } from './pooling.ts';
import { pruMerge, pruMergePlus } from './prumerge.ts';
import { pyramiddrop } from './pyramiddrop.ts';
import { randomInDepth } from './random-in-depth.ts';
import { random } from './random.ts';
import { sparsevlm } from './sparsevlm.ts';
import { stack } from './stack.ts';
import { tome } from './tome.ts';
import { uniform } from './uniform.ts';
import { visionZip } from './visionzip.ts';
import { visPruner } from './vispruner.ts';
import { vtcCls } from './vtc-cls.ts';
import { vtw } from './vtw.ts';
import { yopo } from './yopo.ts';

/** Every method, in the order the pages list them. A further one is its file and one line here. */
export const methods: readonly Method[] = [
  none,
  vtcCls,
  random,
  uniform,
  fasterVlm,
  hired,
  fopru,
  visPruner,
  divPrune,
  cdPruner,
  hybrid,
  visionZip,
  pruMerge,
  pruMergePlus,
  dpcKnn,
  pooling,
  tome,
  downsample,
  fastv,
  randomInDepth,
  vtw,
  pyramiddrop,
  llavolta,
  sparsevlm,
  yopo,
];

/** What stands for every method of {@link methods}, and for every one of {@link llavaSystems}, in a list of names. */
export const [all, allTrained] = ['all', 'trained'];

/** Every system that was trained; each is a method once its weights are loaded. */
export const systems: readonly AnySystem[] = [dyvte, perceptionGpt, vistog, setok, videoLlmMod];

/** Those that go with `llava`: what `trained` stands for. */
export const llavaSystems = systems.filter(({ model }) => model === undefined);

/**
 * @param name of a method, or of several that are stacked: `vtc-cls+fastv`
 * @param own methods besides those of the registry, by the names they go by: a file's path
 * @throws UserError for a name that is not in the registry, or methods that do not go together
 */
export function findMethod(name: string, own: ReadonlyMap<string, Method> = new Map()): Method {
  const found = splitName(name, [...methods.map((method) => [method.name, method] as const), ...own]);
  if (!found) {
    const system = systems.find((other) => name.split('+').includes(other.name));
    if (system)
      throw new UserError(`${system.name} was trained: it is a method with its weights, for one model`);
    const known = [...methods, ...systems].map((method) => method.name);
    throw new UserError(`unknown method "${name}": choose ${known.join(' or ')}`);
  }
  return found.length === 1 ? found[0] : stack(found);
}

/** The methods that a name is of; `prumerge+` ends with the sign that stands between two. */
function splitName(name: string, known: (readonly [string, Method])[]): Method[] | undefined {
  const whole = known.find(([called]) => called === name);
  if (whole) return [whole[1]];
  for (const [called, method] of known) {
    if (!name.startsWith(`${called}+`)) continue;
    const rest = splitName(name.slice(called.length + 1), known);
    if (rest) return [method, ...rest];
  }
  return undefined;
}

/**
 * A method's options: its defaults, with those the user gave in their place.
 * @param given name → value as text
 * @throws UserError for an option that the method lacks, or a value of the wrong kind
 */
export function methodOptions(method: Method, given: Record<string, string>): MethodOptions {
  const options: MethodOptions = { ...method.defaults };
  for (const [name, text] of Object.entries(given)) {
    if (!Object.hasOwn(method.defaults, name)) {
      const known = Object.keys(method.defaults).join(', ') || 'none';
      throw new UserError(`method ${method.name} has no option "${name}" (its options: ${known})`);
    }
    const choices = method.help[name]?.choices;
    const isNumber = typeof method.defaults[name] === 'number';
    const value = isNumber ? Number(text) : text;
    if (isNumber && (text.trim() === '' || !Number.isFinite(value))) {
      throw new UserError(`--${name} ${text}: is not a number`);
    }
    if (choices && !choices.includes(text)) {
      throw new UserError(`--${name} ${text}: choose ${choices.join(', ')}`);
    }
    options[name] = value;
  }
  return options;
}
