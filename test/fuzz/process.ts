/** A run of one reader's cases; `process.ts readers/NAME SEED FIRST COUNT`. A line of JSON before each and one after it. */
import { writeSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { UserError } from '../../src/errors.ts';
import { bounds, randomOf, type Fuzz, type FuzzCase } from './fuzz.ts';

const [file, ...numbers] = process.argv.slice(2);
const [seed, first, count] = numbers.map(Number);
const name = path.basename(file);
const module = (await import(`./${file}.ts`)) as Record<string, Fuzz>;
const folder = await mkdtemp(path.join(tmpdir(), `vtc-cls-fuzz-${name}-`));
// Written at once, so that it is out when the case does not come back.
const tell = (line: object) => writeSync(1, `${JSON.stringify(line)}\n`);

try {
  const makeCase = await module[name].prepare(folder);
  for (let index = first; index < first + count; index++) {
    const fuzzCase = await makeCase(randomOf(seed, index));
    tell({ what: fuzzCase.what });
    const before = highest();
    let verdict = await judge(fuzzCase);
    const megabytes = highest() - before;
    const large = megabytes > bounds.megabytes;
    if (large) verdict += `, but took ${megabytes.toFixed(0)} MB`;
    tell({ index, what: fuzzCase.what, verdict });
    if (large) break; // under this mark the next one would not show
  }
} finally {
  await rm(folder, { recursive: true, force: true });
}

/** `taken`, `refused`, or what went wrong. */
async function judge({ run }: FuzzCase): Promise<string> {
  const begun = process.cpuUsage();
  const verdict = await run().then(
    () => 'taken',
    (error: unknown) => {
      if (!(error instanceof UserError)) return `${error instanceof Error ? error.stack : String(error)}`;
      return isSentence(error.message) ? 'refused' : `no sentence: ${JSON.stringify(error.message)}`;
    },
  );
  const { user, system } = process.cpuUsage(begun);
  const seconds = (user + system) / 1e6;
  return seconds > bounds.cpuSeconds ? `${verdict}, but took ${seconds.toFixed(1)} s` : verdict;
}

/** The most memory that the process has had, in megabytes. */
function highest(): number {
  return process.resourceUsage().maxRSS / 1024;
}

function isSentence(message: string): boolean {
  return message.trim() !== '' && message.length < 3000 && !/[\p{Cc}\u2028\u2029]/u.test(message);
}
