/** Tries a method on small random models: every property of properties.ts, on the same trials. */
import fc from 'fast-check';
import type { Llava } from '../../checkpoint/load.ts';
import type { Method } from '../../compress/method.ts';
import { UserError } from '../../errors.ts';
import { createRandom } from '../../random.ts';
import { free } from '../../tensor/scope.ts';
import { smallModel } from '../tiny-model.ts';
import { observe, type Observed, type Trial } from './observe.ts';
import { methodProperties, unseen, type MethodProperty, type Outcome } from './properties.ts';

/** What the trials showed of a property. */
export interface Finding {
  property: MethodProperty;
  /** Undefined where no trial came far enough to show it. */
  holds?: boolean;
  /** Where it does not hold: what is wrong on the smallest trial that was found. */
  message?: string;
  smallest?: Trial;
}

/** How long to look, and in whose name. */
export interface CheckOptions {
  /** Names the method in messages, where it is not a built-in one. */
  file?: string;
  /** How many trials. */
  runs?: number;
  seed?: number;
}

/** Small ones first, also where fast-check looks for a smaller one. */
const trials: fc.Arbitrary<Trial> = fc
  .record({
    G: fc.integer({ min: 1, max: 4 }),
    B: fc.integer({ min: 1, max: 2 }),
    share: fc.constantFrom(0, 0.3, 0.6, 1),
    seed: fc.integer({ min: 0, max: 99 }),
  })
  .map(({ G, B, share, seed }) => ({ G, B, U: Math.max(1, Math.round(share * G * G)), seed }));

/**
 * Whether a method holds to what every method must. A backend has been started; no weights are needed.
 * @returns a finding of each property, in their order
 */
export async function checkMethod(
  method: Method,
  { file, runs = 20, seed = 1 }: CheckOptions = {},
): Promise<Finding[]> {
  const models = new Map<number, Llava>();
  const modelOf = ({ G }: Trial): Llava => {
    if (!models.has(G)) models.set(G, smallModel(createRandom(G), G));
    return models.get(G)!;
  };
  const tried = { method, file, modelOf };
  const outcomes = new Map<string, Promise<Outcome>>();
  const outcomeOf = (trial: Trial): Promise<Outcome> => {
    const key = JSON.stringify(trial);
    const known = outcomes.get(key) ?? settle(() => observe(tried, trial));
    outcomes.set(key, known);
    return known;
  };
  try {
    const findings: Finding[] = [];
    for (const property of methodProperties) {
      let shown = 0;
      const ask = async (trial: Trial) => {
        modelOf(trial); // made before tensors are counted
        const again = (only?: number) => observe(tried, trial, only);
        const message = await property.ask({ tried, trial, outcome: await outcomeOf(trial), again });
        if (message === unseen) return;
        shown++;
        if (message !== undefined) throw new Wrong(message);
      };
      const result = await fc.check(fc.asyncProperty(trials, ask), { numRuns: runs, seed });
      const { errorInstance: error, counterexample } = result;
      if (error && !(error instanceof Wrong)) throw error as Error;
      findings.push({
        property,
        holds: result.failed ? false : shown > 0 || undefined,
        ...(error instanceof Wrong && { message: error.message, smallest: counterexample![0] }),
      });
    }
    return findings;
  } finally {
    for (const model of models.values()) free(model);
  }
}

/** A property that does not hold. */
class Wrong extends Error {}

/** What is refused, and what no method may do, is an outcome; all else is a bug, of ours. */
async function settle(run: () => Promise<Observed>): Promise<Outcome> {
  try {
    return await run();
  } catch (thrown) {
    if (thrown instanceof UserError) return { thrown };
    throw thrown;
  }
}
