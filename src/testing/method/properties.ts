/** What every method must hold to, each as a question about one trial; README.md lists them. */
import { MethodFault } from '../../compress/checked.ts';
import { prepareMethod } from '../../compress/prepare.ts';
import type { MethodOptions } from '../../compress/method.ts';
import { UserError } from '../../errors.ts';
import { describeSource } from '../../plan.ts';
import { pickedBy } from '../../tensor/token-matrix.ts';
import { checkCuts } from '../cut.ts';
import { checkMerge } from '../merge.ts';
import { smallConfig } from '../tiny-model.ts';
import { placesOf, type Observed, type Tried, type Trial } from './observe.ts';

/** What a trial came to: what was seen, or what was thrown. */
export type Outcome = Observed | { thrown: unknown };

/** What a property asks about. */
export interface Question {
  tried: Tried;
  trial: Trial;
  outcome: Outcome;
  /** The same once more, of the pictures together or of one alone. */
  again(this: void, only?: number): Promise<Observed>;
}

/** One of them: a question to a method, and why it matters. */
export interface MethodProperty {
  name: string;
  /** The sentence that is printed, and why it matters. */
  claim: string;
  why: string;
  /** @returns what is wrong; undefined where nothing is; `unseen` where the trial shows nothing */
  ask(this: void, question: Question): string | undefined | Promise<string | undefined>;
}

/** A trial that was not seen to its end says nothing about what came of it. */
export const unseen = 'unseen';

/** A property of what was seen. */
const ofSeen =
  (
    ask: (seen: Observed, question: Question) => string | undefined | Promise<string | undefined>,
  ): MethodProperty['ask'] =>
  (question) =>
    'thrown' in question.outcome ? unseen : ask(question.outcome, question);

/** A property that {@link checked} looks at while the method runs. */
const ofFaults =
  (about: MethodFault['about']): MethodProperty['ask'] =>
  ({ outcome }) => {
    if (!('thrown' in outcome)) return undefined;
    const { thrown } = outcome;
    return thrown instanceof MethodFault && thrown.about === about ? thrown.message : unseen;
  };

/** What every method must hold to, in the order in which they are asked. */
export const methodProperties: readonly MethodProperty[] = [
  {
    name: 'options',
    claim: 'its defaults are accepted, an option that it lacks is refused',
    why: 'a misspelt option that passes in silence makes a table of something else',
    ask: ({ tried: { method }, trial }) => faultOfOptions(method, trial),
  },
  {
    name: 'budget',
    claim: 'every budget from 1 to P is met, or refused in prepare in one sentence; U = P is met',
    why: 'what is refused later is refused after minutes of loading weights; what is met is all that a table can compare',
    ask: ({ outcome, trial: { G, U } }) => {
      if (!('thrown' in outcome)) return undefined;
      const { thrown } = outcome;
      if (thrown instanceof MethodFault) return thrown.about === 'error' ? thrown.message : unseen;
      if (!(thrown instanceof UserError)) throw thrown;
      return U === G * G ? `U = P is refused: ${thrown.message}` : undefined;
    },
  },
  {
    name: 'matrix',
    claim:
      'what it chooses is a W: so many rows as it should have, over the tokens that there are, of finite weights',
    why: 'F′ = W·F is all that follows: a W of another shape gathers other patches, or fails far from the method',
    ask: ofFaults('choice'),
  },
  {
    name: 'order',
    claim: 'what it picks is in raster order, each token once',
    why: 'the decoder reads patches in raster order: another order moves what it sees to other places',
    ask: ofFaults('order'),
  },
  {
    name: 'memory',
    claim: 'it leaves no tensor behind, and neither disposes nor changes what it was given',
    why: 'a tensor left for each picture fills the memory in an evaluation; what is disposed is missing to who comes next',
    ask: (question) => {
      const { outcome } = question;
      if ('thrown' in outcome) return ofFaults('handling')(question);
      return outcome.left === 0 ? undefined : `a run from picture to answer leaves ${outcome.left} tensors`;
    },
  },
  {
    name: 'same-again',
    claim: 'the same pictures give the same choice',
    why: 'chance without a seed makes a table that nobody can make again',
    ask: ofSeen(async (seen, { again }) => differ(told(seen), told(await again()), 'once more')),
  },
  {
    name: 'batch',
    claim: 'a batch is its pictures one by one',
    why: 'a picture’s answer must not depend on the pictures it was asked about together with',
    ask: ofSeen(async (seen, { again, trial: { B } }) => {
      for (let b = 0; b < B; b++) {
        const fault = differ(told(await again(b)), told(seen, b), `picture ${b} in the batch`);
        if (fault) return fault;
      }
      return undefined;
    }),
  },
  {
    name: 'means',
    claim: 'what it says are means are: weights from 0 that sum to 1',
    why: 'a mean of patches is as large as they are; another sum scales the token, and attention to it',
    ask: ofSeen(({ matrices }, { tried: { method } }) => {
      if (!method.means) return undefined;
      for (const [name, { rows, columns }] of matrices) {
        for (const weights of rows) {
          const [fault] = checkMerge({
            patches: columns,
            weights: weights.filter((row) => row.size > 0),
            means: true,
          });
          if (fault) return `${name}: ${fault.message}`;
        }
      }
      return undefined;
    }),
  },
  {
    name: 'all',
    claim: 'with U = P a method that picks drops nothing',
    why: 'at the full budget a method is the uncut model: what is lost there is lost by mistake',
    ask: ofSeen(({ matrices }, { trial: { G, U }, tried: { method } }) => {
      if (U < G * G || method.makesTokens) return undefined;
      for (const [name, W] of matrices) {
        const short = W.rows.findIndex((picture) => picture.length < W.columns);
        if (short >= 0)
          return `${name} leaves ${W.rows[short].length} of ${W.columns} tokens of picture ${short}`;
      }
      return undefined;
    }),
  },
  {
    name: 'cuts',
    claim: 'the text passes every layer whole, caches hold what the layers saw, positions ascend',
    why: 'a prompt that lost a word is another question; a cache that does not fit shifts every token of the answer',
    ask: ofSeen(({ layers, visual }) => {
      for (const [b, picture] of layers.entries()) {
        const [fault] = checkCuts({ ...placesOf(visual), layers: picture });
        if (fault) return `picture ${b}: ${fault.message}`;
      }
      return undefined;
    }),
  },
  {
    name: 'last',
    claim: 'where it cuts between the decoder’s layers, at most U visual tokens reach the last one',
    why: 'the budget is what is left at the end: more would be compared under a number that it does not keep',
    ask: ofSeen(({ matrices, layers, visual }, { trial: { U } }) => {
      const cuts = [...matrices.keys()].some((name) => name.startsWith('decoder.'));
      const left = layers[0].at(-1)!.cache! - placesOf(visual).text.length;
      return cuts && left > U ? `${left} reach it, the budget is ${U}` : undefined;
    }),
  },
];

function faultOfOptions(method: Tried['method'], { G }: Trial): string | undefined {
  const source = describeSource(smallConfig(G));
  const prepare = (options: MethodOptions) =>
    prepareMethod(method, source, G * G, options, { questions: [[1, 2, 7]] });
  try {
    prepare(method.defaults);
  } catch (error) {
    if (error instanceof UserError) return `the defaults are refused: ${error.message}`;
    return unseen; // it throws: that is told elsewhere
  }
  try {
    prepare({ ...method.defaults, 'no-such-option': 1 });
  } catch (error) {
    return error instanceof UserError ? undefined : unseen;
  }
  return 'an option no-such-option is accepted';
}

/** What a method decided, of one picture or of all: its every W, and the answers. */
function told({ matrices, answers }: Observed, only?: number): string[] {
  const of = <T>(all: readonly T[]): readonly T[] => (only === undefined ? all : [all[only]]);
  const rows = [...matrices].map(([name, W]) => {
    const picked = pickedBy(W);
    const shown = picked
      ? of(picked)
      : of(W.rows).map((picture) => picture.map((row) => [...row].map(roundWeight)));
    return `${name} ${JSON.stringify(shown)}`;
  });
  return [...rows, `the answer ${JSON.stringify(of(answers))}`];
}

/** A weight may differ by rounding between batches. */
const roundWeight = ([token, weight]: [number, number]) => [token, Number(weight.toFixed(4))];

function differ(one: string[], other: string[], what: string): string | undefined {
  const at = one.findIndex((line, i) => line !== other[i]);
  return at < 0 ? undefined : `${one[at]}, but ${what} ${other[at]}`;
}
