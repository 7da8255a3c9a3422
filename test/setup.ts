import fc from 'fast-check';
import { full } from './support/full.ts';

/**
 * `npm test` looks at the same cases every time, so that what turns red was broken by the change at hand.
 * `npm run test:full` draws new ones, ten times as many of every property that does not set its own number; a failure
 * prints the seed to look at again with VTC_TEST_SEED.
 */
const seed = process.env['VTC_TEST_SEED'];
if (full) fc.configureGlobal({ numRuns: 1000, ...(seed && { seed: Number(seed) }) });
else fc.configureGlobal({ seed: Number(seed ?? 0) });
