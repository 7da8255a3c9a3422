/** What a method is as an object, for one that no compiler has looked at. */
import { stages, type Method, type Stages } from './method.ts';

const isRecord = (x: unknown): x is Record<string, unknown> =>
  typeof x === 'object' && x !== null && !Array.isArray(x);
const isText = (x: unknown): x is string => typeof x === 'string' && x.trim() !== '';
const tell = (x: unknown): string =>
  typeof x === 'function' ? 'a function' : (JSON.stringify(x) ?? String(x));

/** What a name may hold: it stands in lists, in stacks and in the names of files. */
const nameForm = /^[\w-][\w.-]*\+?$/;

/** What is wrong with an object that should be a {@link Method}, the first of it; undefined where nothing is. */
export function faultOfMethod(method: unknown): string | undefined {
  if (!isRecord(method)) return `exports ${tell(method)}, should be a method: { name, paper, summary, … }`;
  const should = (field: string, kind: string) =>
    method[field] === undefined
      ? `exports a method without ${field}, which should be ${kind}`
      : `exports a method whose ${field} is ${tell(method[field])}, should be ${kind}`;
  if (!isText(method['name']) || !nameForm.test(method['name'])) {
    return should('name', 'letters, digits, points and hyphens');
  }
  for (const field of ['paper', 'summary']) if (!isText(method[field])) return should(field, 'a text');
  const places = method['stages'];
  const known = (place: unknown) => (stages as readonly unknown[]).includes(place);
  if (!Array.isArray(places) || places.length === 0 || !places.every(known)) {
    return should('stages', `a list of ${stages.join(', ')}`);
  }
  const resources = method['resources'] ?? [];
  if (!Array.isArray(resources) || !resources.every((resource) => resource === 'questions')) {
    return should('resources', "['questions'] or absent");
  }
  const adds = method['adds'] ?? [];
  if (!Array.isArray(adds) || !adds.every(isText)) return should('adds', 'a list of words or absent');
  for (const flag of ['makesTokens', 'means', 'single']) {
    if (!['boolean', 'undefined'].includes(typeof method[flag])) return should(flag, 'true, false or absent');
  }
  const { defaults, help } = method;
  const isValue = (x: unknown) => typeof x === 'string' || Number.isFinite(x);
  if (!isRecord(defaults) || !Object.values(defaults).every(isValue)) {
    return should('defaults', 'an object of numbers and texts');
  }
  if (!isRecord(help)) return should('help', 'an object with { text } for each option');
  for (const option of new Set([...Object.keys(defaults), ...Object.keys(help)])) {
    const fault = faultOfOption(option, defaults[option], help[option]);
    if (fault) return `exports a method ${fault}`;
  }
  return typeof method['prepare'] === 'function' ? undefined : should('prepare', 'a function');
}

function faultOfOption(name: string, value: unknown, help: unknown): string | undefined {
  if (name === 'positions') return 'with an option positions, which is an option of every method already';
  if (value === undefined) return `whose help explains ${name}, which is not among its defaults`;
  if (!isRecord(help) || !isText(help['text'])) return `whose option ${name} has no help: { text: '…' }`;
  const { choices } = help;
  if (choices === undefined) return undefined;
  if (!Array.isArray(choices) || !choices.includes(value)) {
    return `whose option ${name} is ${tell(value)} by default, which is not among its choices`;
  }
  return undefined;
}

const functionOf = { tower: 'inTower', before: 'choose', between: 'between', output: 'output' } as const;
const isNumberToken = (x: unknown): boolean =>
  isRecord(x) &&
  [x['id'], x['count']].every(Number.isInteger) &&
  [x['read'], x['write']].every((each) => typeof each === 'function');
const isCoarser = (x: unknown): boolean =>
  isRecord(x) && Number.isInteger(x['grid']) && Number(x['grid']) > 0;
const seen = ['clsAttention', 'attention', 'keys', 'hidden'];

/** What is wrong with what a method prepared, for a tower of so many layers. */
export function faultOfStages(made: unknown, method: Method, layers: number): string | undefined {
  if (!isRecord(made))
    return `prepare returned ${tell(made)}, should be an object with what happens at its stages`;
  const given = stages.filter((stage) => made[functionOf[stage]] !== undefined);
  for (const stage of given) {
    const name = functionOf[stage];
    const other = { tower: isCoarser, before: () => false, between: () => false, output: isNumberToken }[
      stage
    ];
    if ((stage === 'output' || typeof made[name] !== 'function') && !other(made[name])) {
      const should = {
        tower: 'a function or { grid }, patches a side',
        before: 'a function',
        between: 'a function',
        output: '{ id, count, read, write }',
      }[stage];
      return `prepare gave ${tell(made[name])} as ${name}, should be ${should}`;
    }
    if (!method.stages.includes(stage)) {
      return `prepare gave ${name}, but the method's stages are ${method.stages.join(', ')}`;
    }
  }
  const [first] = method.stages;
  if (given.length === 0) return `prepare gave no ${functionOf[first]}, but the method's stage is ${first}`;
  return faultOfNeeds(made['needs'] ?? {}, layers) ?? faultOfLeaves((made as Stages).leaves);
}

function faultOfNeeds(needs: unknown, layers: number): string | undefined {
  if (!isRecord(needs)) return `prepare gave ${tell(needs)} as needs, should be an object of lists of layers`;
  for (const [what, of] of Object.entries(needs)) {
    if (!seen.includes(what)) return `prepare needs ${what}, but a tower shows ${seen.join(', ')}`;
    if (of === undefined) continue;
    if (!Array.isArray(of)) return `prepare needs ${tell(of)} of ${what}, should be a list of layers`;
    const stray: unknown = of.find((layer) => !Number.isInteger(layer) || layer < 0 || layer >= layers);
    if (stray !== undefined) {
      return `prepare needs ${what} of layer ${tell(stray)}, but the tower has layers 0 to ${layers - 1}`;
    }
  }
  return undefined;
}

const faultOfLeaves = (leaves: unknown): string | undefined =>
  leaves === undefined || leaves === 'varies' || (Number.isInteger(leaves) && Number(leaves) > 0)
    ? undefined
    : `prepare gave ${tell(leaves)} as leaves, should be a number of tokens or 'varies'`;
