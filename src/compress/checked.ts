/**
 * A method that is checked as it runs, for one that nobody has looked at: whatever it gives that is none is named in one
 * line, before a tensor of the wrong shape comes up somewhere else.
 *
 *     ./mine.ts: choose kept 24 patches of picture 0, should be 25
 */
import type * as tf from '@tensorflow/tfjs-core';
import type { DecoderState, LayerHook, LayerView } from '../decoder/state.ts';
import { UserError } from '../errors.ts';
import type { InTower, TowerCut } from '../vision/tower.ts';
import type { TokenMatrix } from '../tensor/token-matrix.ts';
import {
  faultOfLimits,
  faultOfMatrix,
  faultOfOrder,
  faultOfPass,
  faultOfScores,
  faultOfTokens,
  type LimitArguments,
} from './faults.ts';
import { watchGiven, type Watch } from './given.ts';
import { countImage } from './image-tokens.ts';
import type { Choice, Method, Seen, Source, Stages, TowerNeeds } from './method.ts';
import { faultOfStages } from './method-shape.ts';

/** A method did what none may: another budget or picture will not help, as with what it refuses. */
export class MethodFault extends UserError {
  /** What it gave, in which order it picked, what it did to what it was given, or that it threw. */
  readonly about: 'choice' | 'order' | 'handling' | 'error';

  constructor(message: string, about: MethodFault['about']) {
    super(message);
    this.about = about;
  }
}

/** The method that is checked, and where it is from. */
interface Checked {
  method: Method;
  file?: string;
  source: Source;
  budget: number;
}

/**
 * The same method, watched: what it does wrong is a {@link MethodFault} of one line.
 * @param file names it in messages; left out for a built-in one, whose refusals name it already
 */
export function checked(method: Method, file?: string): Method {
  if (known.has(method)) return method;
  const watched: Method = {
    ...method,
    prepare(source, budget, options, resources) {
      const of: Checked = { method, file, source, budget };
      const stages = call(of, 'prepare', () =>
        method.prepare(Object.freeze({ ...source }), budget, Object.freeze({ ...options }), resources),
      );
      refuse(of, faultOfStages(stages, method, source.layers) ?? faultOfGrid(stages.inTower, budget));
      return {
        ...stages,
        ...(stages.choose && { choose: (seen: Seen) => choose(of, stages, seen) }),
        ...(typeof stages.inTower === 'function' && { inTower: cutTower(of, stages.inTower) }),
        ...(stages.between && { between: () => between(of, stages.between!) }),
      };
    },
  };
  known.add(watched);
  return watched;
}

/** Those that are checked already: once is enough. */
const known = new WeakSet<Method>();

/** Before the decoder. */
async function choose(of: Checked, stages: Stages, seen: Seen): Promise<Choice> {
  const { clsAttention, attention, keys, hidden } = seen;
  const shown = { clsAttention, attention, keys, hidden };
  const watch = watchGiven(shown);
  for (const [name, layers] of Object.entries(shown)) {
    const needed = stages.needs?.[name as keyof TowerNeeds] ?? []; // others' may be there too
    for (const [layer, tensor] of layers) {
      if (needed.includes(layer)) watch.tensor<tf.Tensor>(`${name} of layer ${layer}`, tensor);
    }
  }
  const makeF = () => seen.F; // it may be made only now
  const F = () => watch.tensor('F', watch.aside(makeF));
  const { compare } = seen;
  const given: Seen = {
    ...withoutF(seen),
    get F() {
      return F();
    },
    ...(compare && { compare: (questions) => (F(), compare(questions)) }),
  };
  return watched(
    of,
    'choose',
    watch,
    async () => {
      const choice = await stages.choose!(given);
      if (choice?.tokens) watch.handOver();
      return choice;
    },
    (choice) => faultOfChoice(of, stages, choice, seen.B),
    of.method.makesTokens ? undefined : ({ W }) => faultOfOrder(W),
  );
}

function faultOfChoice({ method, source, budget }: Checked, stages: Stages, choice: unknown, B: number) {
  if (typeof choice !== 'object' || choice === null) {
    return `returned ${String(choice)}, should be { W } or { W, scores }`;
  }
  const { W, scores, cls, tokens } = choice as Partial<Choice>;
  if (cls && source.prefixTokens === 0) return 'returned cls: true, but this vision tower has no [CLS]';
  const { leaves = budget } = stages;
  const rows = leaves === 'varies' ? undefined : leaves - (cls ? 1 : 0);
  const expected = { B, columns: source.patches, rows, picks: !method.makesTokens };
  return (
    faultOfMatrix(W, expected) ??
    faultOfScores(scores, B, source.patches) ??
    faultOfTokens(tokens, W!.shape.slice(0, 2))
  );
}

/** All but F, which is not to be made only to be copied. */
function withoutF(seen: Seen): Omit<Seen, 'F'> {
  const { B, clsAttention, attention, keys, hidden, beside, project } = seen;
  return { B, clsAttention, attention, keys, hidden, beside, project };
}

/** In the tower, before its layers: a picture of U patches. */
const faultOfGrid = (inside: InTower | undefined, budget: number): string | undefined =>
  typeof inside === 'object' && inside.grid ** 2 !== budget
    ? `prepare gave a picture of ${inside.grid} × ${inside.grid} patches as inTower, should be ${budget} patches`
    : undefined;

/** In the tower: after the layer whose output is selected, U tokens are left. */
function cutTower(of: Checked, cut: TowerCut): TowerCut {
  return async (layer, view) => {
    const { keys, sizes } = view;
    const watch = watchGiven({ sizes });
    watch.tensor('keys', keys);
    const columns = sizes[0].length - of.source.prefixTokens;
    const { source, budget, method } = of;
    const rows = layer === source.selectedLayer ? budget : undefined;
    const faultOf = (W: unknown): string | undefined => {
      if (W === undefined) {
        return rows === undefined || columns === rows
          ? undefined
          : `leaves ${columns} patches, should be ${rows}`;
      }
      return faultOfMatrix(W, { B: sizes.length, columns, rows, picks: !method.makesTokens });
    };
    const step = `inTower, in layer ${layer},`;
    const faultOfPlaces = (W?: TokenMatrix) => (W && !method.makesTokens ? faultOfOrder(W) : undefined);
    return watched(of, step, watch, () => cut(layer, view), faultOf, faultOfPlaces);
  };
}

/** Between the decoder's layers. */
function between(of: Checked, make: () => LayerHook): LayerHook {
  const hook = call(of, 'between', make);
  if (typeof hook !== 'object' || hook === null) {
    refuse(of, `between returned ${String(hook)}, should be an object with cut, through or limit`);
  }
  return {
    ...hook,
    ...(hook.needsAttention && {
      needsAttention: (layer: number) => call(of, 'needsAttention', () => hook.needsAttention!(layer)),
    }),
    ...(hook.cut && { cut: (layer: number, view: LayerView) => cutLayer(of, hook, layer, view) }),
    ...(hook.through && {
      through: (layer: number, state: DecoderState) => passLayer(of, hook, layer, state),
    }),
    ...(hook.limit && {
      limit: (...args: LimitArguments) => {
        const limits = call(of, 'limit', () => hook.limit!(...args));
        refuse(of, faultOfLimits(limits, args));
        return limits;
      },
    }),
  };
}

async function cutLayer(of: Checked, hook: LayerHook, layer: number, view: LayerView) {
  const watch = watchState(view);
  const expected = {
    B: view.roles.length,
    columns: countImage(view),
    picks: false,
  };
  const names = { one: 'image token', many: 'image tokens' };
  const faultOf = (W: unknown) => (W === undefined ? undefined : faultOfMatrix(W, expected, names));
  const faultOfPlaces = (W?: TokenMatrix) => (W && !of.method.means ? faultOfOrder(W, names) : undefined);
  const step = `cut, before layer ${layer},`;
  return watched(of, step, watch, () => hook.cut!(layer, view), faultOf, faultOfPlaces);
}

function passLayer(of: Checked, hook: LayerHook, layer: number, state: DecoderState) {
  const faultOf = (pass: unknown) => (pass === undefined ? undefined : faultOfPass(pass, state));
  const step = `through, before layer ${layer},`;
  const watch = watchState(state);
  const run = async () => {
    const pass = await hook.through!(layer, state);
    if (pass?.withheld) watch.handOver();
    return pass;
  };
  return watched(of, step, watch, run, faultOf);
}

function watchState({ hidden, positions, roles, attention }: DecoderState): Watch {
  const watch = watchGiven({ roles });
  for (const [name, tensor] of Object.entries({ hidden, positions, attention })) {
    if (tensor) watch.tensor<tf.Tensor>(name, tensor);
  }
  return watch;
}

/**
 * Runs a step of a method under a watch.
 * @param faultOf what is wrong with what it made, which is told before what it did
 * @param faultOfPlaces and with the order of what it made
 */
async function watched<T>(
  of: Checked,
  step: string,
  watch: Watch,
  run: () => T | Promise<T>,
  faultOf: (made: T) => string | undefined,
  faultOfPlaces: (made: T) => string | undefined = () => undefined,
): Promise<T> {
  let made: T;
  try {
    made = await run();
  } catch (error) {
    await watch.end();
    throw retold(of, step, error);
  }
  const did = await watch.end();
  const tell = (fault: string | undefined) => fault && `${step} ${fault}`;
  refuse(of, tell(faultOf(made)), 'choice');
  refuse(of, tell(faultOfPlaces(made)), 'order');
  refuse(of, tell(did), 'handling');
  return made;
}

function call<T>(of: Checked, step: string, run: () => T): T {
  try {
    return run();
  } catch (error) {
    throw retold(of, step, error);
  }
}

/** What the method refuses stays a refusal; of anything else the first line, and where in the file. */
function retold({ file, method }: Checked, step: string, error: unknown): UserError {
  if (error instanceof MethodFault) return error;
  const where = file ?? method.name;
  if (!(error instanceof UserError))
    return new MethodFault(`${where}: ${step} throws ${formatError(error, where)}`, 'error');
  return file === undefined ? error : new UserError(`${file}: ${error.message}`);
}

/** The first line of what was thrown, and the line of the file it was thrown in or through. */
export function formatError(error: unknown, file: string): string {
  if (!(error instanceof Error)) return String(error);
  const line = error.stack?.split(`/${file.split(/[\\/]/).at(-1)}:`)[1]?.match(/^\d+/)?.[0];
  const [message] = error.message.split('\n');
  return `${error.name}: ${message}${line ? ` (line ${line})` : ''}`;
}

function refuse(
  { file, method }: Checked,
  fault: string | undefined,
  about: MethodFault['about'] = 'choice',
) {
  if (fault) throw new MethodFault(`${file ?? method.name}: ${fault}`, about);
}
