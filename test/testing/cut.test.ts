/** Each invariant of cuts between layers holds for right ones, and finds a planted wrong one. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { checkCuts, cutWhys, type LayerCuts, type LayerTokens } from '../../src/testing/cut.ts';
import { cutLaw, type CutPrompt } from '../../src/testing/laws.ts';

const whole = { tokens: [0, 1, 2, 3, 4], cache: 5, positions: [0, 1, 2, 3, 4] };
const cut = { tokens: [0, 2, 4], cache: 3, positions: [0, 2, 4] };
const good: LayerCuts = { text: [0, 4], image: [1, 2, 3], layers: [whole, cut, cut] };
const withLayer = (l: number, layer: LayerTokens): Partial<LayerCuts> => ({
  layers: good.layers.map((one, i) => (i === l ? { ...one, ...layer } : one)),
});

test('of right cuts nothing is wrong, whatever part of them is told', () => {
  expect(checkCuts(good)).toEqual([]);
  expect(checkCuts({ ...good, layers: [5, 3, 2].map((length) => ({ length, cache: length })) })).toEqual([]);
  const contiguous = good.layers.map((layer) => ({ ...layer, positions: layer.tokens!.map((_, i) => i) }));
  expect(checkCuts({ ...good, layers: contiguous, positions: 'contiguous' })).toEqual([]);
});

const gone = { tokens: [0, 2], cache: 2, positions: [0, 2] };
test.each<[keyof typeof cutWhys, string, Partial<LayerCuts>]>([
  ['text', 'layer 2 runs on the text tokens [0], should be [0,4]', withLayer(2, gone)],
  ['text', 'layer 1 runs on 1 tokens, but the text alone has 2', { layers: [{ length: 5 }, { length: 1 }] }],
  ['subset', 'layer 2 runs on token 3, which an earlier layer dropped', withLayer(2, { tokens: [0, 3, 4] })],
  ['subset', 'layer 1 runs on token 9, which is no token of the prompt', { ...withLayer(1, { tokens: [0, 4, 9] }), layers: [whole, { tokens: [0, 4, 9] }] }], // prettier-ignore
  ['order', 'layer 0 runs on token 2 before 1', withLayer(0, { tokens: [0, 2, 1, 3, 4] })],
  ['order', 'layer 2 runs on token 2 before 2', { layers: [whole, { tokens: [0, 2, 3, 4] }, { tokens: [0, 2, 2, 4] }] }], // prettier-ignore
  ['shorter', 'layer 2 runs on 4 tokens, the one before on 3', { layers: [5, 3, 4].map((length) => ({ length })) }], // prettier-ignore
  ['cache', 'the cache of layer 1 holds 5 tokens, it saw 3', withLayer(1, { cache: 5 })],
  ['positions', 'layer 1 has position 2 after 2', withLayer(1, { positions: [0, 2, 2] })],
  ['positions', 'layer 1 has position NaN after 0', withLayer(1, { positions: [0, NaN, 4] })],
  ['positions', 'layer 1 has 2 positions for 3 tokens', withLayer(1, { positions: [0, 2] })],
  ['positions', 'layer 1 has position 2 at place 1, should be 1', { positions: 'contiguous' }],
])('%s: %s', (property, message, wrong) => {
  expect(checkCuts({ ...good, ...wrong })).toEqual([{ property, message, why: cutWhys[property] }]);
});

test('the law holds for a cut to the first U, and finds one that drops text', async () => {
  const run = (lost: number) => ({ before, patches, after, budget }: CutPrompt) => {
    const tokens = [...Array(before + patches + after).keys()];
    const kept = tokens.filter((t) => t < before + budget || t >= before + patches + lost);
    return { layers: [tokens, kept].map((all) => ({ tokens: all, cache: all.length, positions: all })) };
  }; // prettier-ignore
  await fc.assert(cutLaw(run(0)));
  expect((await fc.check(cutLaw(run(1)))).failed).toBe(true);
});
