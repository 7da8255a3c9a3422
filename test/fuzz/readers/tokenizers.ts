import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { isObject } from '../../../src/json.ts';
import { pick, type Random } from '../../../src/random.ts';
import { readTokenizer } from '../../../src/node/checkpoint.ts';
import { golden } from '../../support/golden.ts';
import type { Fuzz } from '../fuzz.ts';

const texts = ['', ' ', 'the sep word', 'Hello<image>  world', 'é 你好 😀', 'x'.repeat(60), 'a\nb\0'];
const values: unknown[] = [
  null,
  true,
  0,
  -1,
  1.5,
  1e9,
  '',
  'x',
  '__proto__',
  '(x+x+)+y',
  '(((((',
  'x'.repeat(300),
  [],
  {},
  [[]],
  ['x'],
  [null],
  { Regex: '(x+x+)+y' },
  { Regex: '' },
  { String: '' },
];

/** Small tokenizers, a feature each: fields of another kind or value, left out, doubled, moved to another's place. */
export const tokenizers: Fuzz = {
  async prepare(folder) {
    const features = JSON.parse(await readFile(golden('tokenizer', 'features.json'), 'utf8')) as object;
    const good = Object.values(features)
      .map((one: { json?: object }) => one.json)
      .filter((json) => json !== undefined)
      .map((json) => JSON.stringify(json));
    return async (random) => {
      const json = JSON.parse(pick(random, good)) as object;
      const what: string[] = [];
      for (let n = Math.floor(random() * 4); n > 0; n--) what.push(damage(json, random));
      await writeFile(path.join(folder, 'tokenizer.json'), JSON.stringify(json));
      const config = {
        added_tokens_decoder: pick(random, [{}, { 500: { content: 'q' } }, { x: 1 }, [], null]),
      };
      await writeFile(path.join(folder, 'tokenizer_config.json'), JSON.stringify(config));
      const ids = Array.from({ length: 9 }, () => Math.floor(random() * 400));
      return {
        what: what.join('; '),
        run: async () => {
          const tokenizer = await readTokenizer(folder, 1);
          tokenizer.decode(ids);
          for (const text of texts) tokenizer.decode(tokenizer.encode(text));
        },
      };
    };
  },
};

/** Changes one field, on some level, in place. */
function damage(json: object, random: Random): string {
  const trail: string[] = [];
  let at = json as Record<string, unknown>;
  for (;;) {
    const key = pick(random, Object.keys(at));
    trail.push(key);
    const value = at[key];
    const inside = (isObject(value) || Array.isArray(value)) && Object.keys(value).length > 0;
    if (inside && random() < 0.75) {
      at = value as Record<string, unknown>;
      continue;
    }
    const way = random();
    if (way < 0.2) delete at[key];
    else if (way < 0.3) at[key] = [value, structuredClone(value)];
    else if (way < 0.4)
      at[key] = { type: 'Sequence', normalizers: [value], pretokenizers: [value], decoders: [value] };
    else at[key] = structuredClone(pick(random, values)); // or a later damage would reach into it
    return `${trail.join('.')} = ${JSON.stringify(at[key])?.slice(0, 60)}`;
  }
}
