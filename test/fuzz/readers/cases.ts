/** Files of cases for `vtc check --json`: fields changed, left out, added, nested, the text cut and damaged. */
import { readFile } from 'node:fs/promises';
import { pick, type Random } from '../../../src/random.ts';
import { checkCases } from '../../../src/testing/cases.ts';
import { golden } from '../../support/golden.ts';
import type { Fuzz } from '../fuzz.ts';

const values = [
  null,
  0,
  -1,
  1.5,
  2 ** 60,
  true,
  '',
  'N',
  '\0',
  [],
  {},
  [[]],
  [[[]]],
  [{}],
  [null],
  '__proto__',
];

type Holder = Record<string, unknown>;

/** Any value in the tree takes another's place, or goes, or one comes. */
function changeValue(tree: unknown, random: Random): string {
  let holder = tree as Holder;
  let key = pick(random, Object.keys(holder));
  while (typeof holder[key] === 'object' && holder[key] !== null && random() < 0.85) {
    const inner = holder[key] as Holder;
    if (Object.keys(inner).length === 0) break;
    holder = inner;
    key = pick(random, Object.keys(holder));
  }
  const how = random();
  if (how < 0.7) holder[key] = structuredClone(pick(random, values));
  else if (how < 0.85) delete holder[key];
  else holder[pick(random, ['x', '__proto__', '0', '-1', 'kept'])] = structuredClone(pick(random, values));
  return key;
}

const textChanges: Record<string, (text: string, random: Random) => string> = {
  'nothing': (text) => text,
  'cut': (text, random) => text.slice(0, random() * text.length),
  'a character': (text, random) => {
    const at = Math.floor(random() * text.length);
    return text.slice(0, at) + pick(random, [...'{}[]",:\\\n\0-', 'NaN', '-Infinity']) + text.slice(at + 1);
  },
  'nested': (text, random) => text.replace(/:/, `:${'['.repeat(10 ** (5 * random()))}`),
  'a long text': (text, random) => text.replace('by scores', '\\"NaN'.repeat(10 ** (5 * random()))),
  'many numbers': (text, random) => text.replace('[', `[${'NaN,'.repeat(10 ** (5 * random()))}`),
};

export const cases: Fuzz = {
  async prepare() {
    const texts = await Promise.all(
      ['cases.json', 'wrong-cases.json'].map((name) => readFile(golden(name), 'utf8')),
    );
    return (random) => {
      const tree: unknown = JSON.parse(pick(random, texts).replaceAll('NaN', '0'));
      const changed = Array.from({ length: Math.floor(3 * random()) }, () => changeValue(tree, random));
      const [name, change] = pick(random, Object.entries(textChanges));
      const text = change(JSON.stringify(tree), random);
      return Promise.resolve({
        what: `${changed.join(' and ') || 'no field'}; ${name}`,
        run: () => Promise.resolve().then(() => checkCases(text, 'cases.json')),
      });
    };
  },
};
