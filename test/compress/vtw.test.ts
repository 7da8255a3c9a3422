/** VTW's search for its layer. */
import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { findWithdrawal } from '../../src/compress/vtw-search.ts';
import { UserError } from '../../src/errors.ts';
import { runCut, vtw } from '../reference/decoder-methods.ts';
import { describeEachBackend } from '../support/backends.ts';
import { hookCases, randomPrompt, type HookCase } from '../support/hooks.ts';
import { expectNewTensors, tidyEachTest, toArrays } from '../support/random.ts';

const inputOf = ({ input, T }: HookCase) => ({ ...input, nextPosition: T });

/** log p of the token after each item, with the picture withdrawn before layer k. */
function twinLogP({ llama, input }: HookCase, k: number): number[][] {
  const weights = toArrays(llama.weights);
  const positions = input.positions.arraySync();
  return input.hidden.arraySync().map((rows, b) => {
    const tokens = rows.map((hidden, t) => ({ hidden, position: positions[b][t], role: input.roles[b][t] }));
    const logits = runCut(weights, tokens, llama.config, vtw(k)).logits.at(-1)!;
    const norm = Math.log(logits.reduce((sum, x) => sum + Math.exp(x), 0));
    return logits.map((x) => x - norm);
  });
}

describeEachBackend('the search for VTW’s layer', () => {
  tidyEachTest();

  test('the divergences are the twin’s, and the first that is small enough ends the search', async () => {
    await fc.assert(
      fc.asyncProperty(hookCases({ layers: [3, 5], image: 5 }), async (drawn) => {
        const { llama, random, L } = drawn;
        const second = { ...drawn, input: randomPrompt(llama, random, 2, 2, 3, 2), T: 7 };
        const samples = [inputOf(drawn), inputOf(second)];
        const all = await findWithdrawal(llama, samples, { threshold: -1, from: 1 });
        expect(all.layer).toBe(L); // never
        expect(all.divergences.map(({ layer }) => layer)).toEqual([...Array(L).keys()].slice(1));
        const full = [drawn, second].flatMap((each) => twinLogP(each, L));
        for (const { layer, mean } of all.divergences) {
          const withdrawn = [drawn, second].flatMap((each) => twinLogP(each, layer));
          const sum = withdrawn.reduce(
            (total, p, i) => total + p.reduce((kl, logP, v) => kl + Math.exp(logP) * (logP - full[i][v]), 0),
            0,
          );
          expect(Math.abs(mean - sum / full.length)).toBeLessThan(1e-4);
        }
        const smallest = Math.min(...all.divergences.map(({ mean }) => mean));
        const found = await findWithdrawal(llama, samples, { threshold: smallest, from: 1 });
        expect(found.layer).toBe(all.divergences.find(({ mean }) => mean === smallest)!.layer);
        expect(found.divergences).toEqual(all.divergences.slice(0, found.layer));
      }),
      { numRuns: 6 },
    );
  });

  test('by default it begins at the share of the depth that 5 is of 32, and ends at .003 nats', async () => {
    for (const [L, first] of [
      [8, 1],
      [11, 2],
    ]) {
      const [drawn] = fc.sample(hookCases({ layers: [L, L], image: 5 }), { numRuns: 1, seed: 2 });
      const samples = [inputOf(drawn)];
      const { divergences } = await findWithdrawal(drawn.llama, samples, { threshold: -1 });
      expect(divergences[0].layer).toBe(first);
      const { layer } = await findWithdrawal(drawn.llama, samples);
      expect(layer).toBe(divergences.find(({ mean }) => mean <= 0.003)!.layer);
    }
  });

  test('leaves nothing behind, and refuses what it cannot search', async () => {
    const [drawn] = fc.sample(hookCases({ layers: [3, 3] }), { numRuns: 1, seed: 2 });
    const samples = [inputOf(drawn)];
    await expectNewTensors(0, 'findWithdrawal', () => findWithdrawal(drawn.llama, samples, { from: 1 }));
    await expect(findWithdrawal(drawn.llama, [])).rejects.toThrow(
      new UserError('vtw: the search for a layer needs at least one sample'),
    );
    await expect(findWithdrawal(drawn.llama, samples, { from: 4 })).rejects.toThrow('vtw: from=4 is not');
    const broken = [{ ...samples[0], hidden: tf.zeros([1, 1, 3]) as tf.Tensor3D }];
    await expectNewTensors(0, 'a search that throws', () => findWithdrawal(drawn.llama, broken), true);
  });
});
