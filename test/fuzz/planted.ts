/** A reader with every fault that the fuzz is to find. */
import { UserError } from '../../src/errors.ts';
import { pick } from '../../src/random.ts';
import type { Fuzz } from './fuzz.ts';

interface Fault {
  name: string;
  run: () => unknown;
  /** What the report says; absent where nothing is wrong. */
  finding?: RegExp;
}

const fail = (error: Error) => {
  throw error;
};
const burn = (seconds: number) => {
  for (const until = performance.now() + 1000 * seconds; performance.now() < until;);
};

export const faults: Fault[] = [
  { name: 'taken', run: () => undefined },
  { name: 'refused', run: () => fail(new UserError('model.json: a is 1, should be 2')) },
  { name: 'bug', run: () => fail(new TypeError('x is undefined')), finding: /TypeError/ },
  { name: 'silent', run: () => fail(new UserError(' ')), finding: /no sentence/ },
  { name: 'ends', run: () => process.exit(3), finding: /exit code 3/ },
  { name: 'slow', run: () => burn(2.5), finding: /taken, but took \d\.\d s/ },
  { name: 'large', run: () => Buffer.alloc(2 ** 30, 1).length, finding: /took \d+ MB/ },
  { name: 'endless', run: () => burn(Infinity), finding: /nothing for 8 s/ },
];

export const planted: Fuzz = {
  prepare: () =>
    Promise.resolve((random) => {
      const { name, run } = pick(random, faults);
      return Promise.resolve({ what: name, run: () => Promise.resolve().then(run) });
    }),
};
