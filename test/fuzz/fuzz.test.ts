/**
 * Each reader of `readers/`, under a hundred cases in `npm test` and thousands in `npm run test:full`. A failure names
 * its case by number: `node --import tsx test/fuzz/process.ts readers/NAME SEED NUMBER 1` looks at it again.
 */
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { full } from '../support/full.ts';
import { randomOf, runFuzz } from './fuzz.ts';
import { faults } from './planted.ts';

const readers = readdirSync(path.join(import.meta.dirname, 'readers'))
  .filter((file) => file.endsWith('.ts'))
  .map((file) => path.parse(file).name);
const seed = Number(process.env['VTC_TEST_SEED'] ?? 0);
const count = full ? 3000 : 100;

test.each(readers)('%s: taken, or refused in one sentence', { timeout: 1_200_000 }, async (name) => {
  const { taken, refused, failures } = await runFuzz(`readers/${name}`, seed, count);
  expect(failures).toEqual([]);
  expect(taken + refused).toBe(count);
  expect(refused, 'some input is bad').toBeGreaterThan(0);
  expect(taken, 'some input is good').toBeGreaterThan(0);
});

if (!full) console.warn('skipping what the fuzz itself finds: npm run test:full plants faults');
test.runIf(full)('the fuzz finds each kind of fault, and goes on behind it', async () => {
  const [seed, count] = [60, 11];
  const planted = Array.from(
    { length: count },
    (_, i) => faults[Math.floor(randomOf(seed, i)() * faults.length)],
  );
  const { taken, refused, failures } = await runFuzz('planted', seed, count, 8);
  const of = (name: string) => planted.filter((fault) => fault.name === name).length;
  expect([taken, refused]).toEqual([of('taken'), of('refused')]);
  for (const { name, finding } of faults) {
    expect(of(name), `${name} comes up`).toBeGreaterThan(0);
    const found = failures.filter((failure) => failure.includes(`: ${name}: `));
    if (finding) expect(found, name).toEqual(found.filter((failure) => finding.test(failure)));
    expect(found, name).toHaveLength(finding ? of(name) : 0);
  }
});
