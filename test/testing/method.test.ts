/** Every built-in method holds to what every method must; a method that does not is found out, by its smallest input. */
import { expect, test } from 'vitest';
import type { Method, Stages } from '../../src/compress/method.ts';
import { methods } from '../../src/compress/registry.ts';
import { uniform } from '../../src/compress/uniform.ts';
import { UserError } from '../../src/errors.ts';
import { keepToken, matrixOf, picking } from '../../src/tensor/token-matrix.ts';
import { checkMethod } from '../../src/testing/method/check.ts';
import { methodProperties } from '../../src/testing/method/properties.ts';
import { describeEachBackend } from '../support/backends.ts';
import { full } from '../support/full.ts';

/** How many trials: the first of the same ones. */
const runs = full ? 12 : 8;

const wrongOf = async (method: Method, runs: number) => {
  const findings = await checkMethod(method, { runs });
  return findings.filter(({ holds }) => holds === false);
};

describeEachBackend('what every method must hold to', () => {
  test.each(methods.map((method) => [method.name, method] as const))('%s', async (_, method) => {
    const findings = await checkMethod(method, { runs });
    expect(findings.map(({ property, holds, message }) => [property.name, holds ?? false, message])).toEqual(
      methodProperties.map(({ name }) => [name, true, undefined]),
    );
  });

  const plain = uniform as unknown as Method;
  const mine = (prepare: (P: number, U: number) => Stages, more: Partial<Method> = {}): Method => ({
    ...{ ...plain, name: 'mine', defaults: {}, help: {}, ...more },
    prepare: ({ patches }, U) => prepare(patches, U),
  });
  const first = (U: number) => [...Array(U).keys()];
  const each = (B: number, kept: readonly number[], P: number) => picking(Array.from({ length: B }, () => kept), P); // prettier-ignore
  let calls = 0;
  /** For each property a method that breaks it, and no other. */
  const broken: Record<string, Method> = {
    'options': mine((P, U) => ({ choose: ({ B }) => ({ W: each(B, first(U), P) }) }), { defaults: { 'no-such-option': 1 } }), // prettier-ignore
    'budget': mine((P, U) => {
      if (U === P) throw new UserError('mine: all is too many');
      return { choose: ({ B }) => ({ W: each(B, first(U), P) }) };
    }),
    'matrix': mine((P, U) => ({ choose: ({ B }) => ({ W: each(B, first(U > 2 ? U - 1 : U), P) }) })),
    'order': mine((P, U) => ({ choose: ({ B }) => ({ W: matrixOf(Array.from({ length: B }, () => first(U).reverse().map(keepToken)), P) }) })), // prettier-ignore
    'memory': mine((P, U) => ({ choose: ({ B, F }) => (F.clone(), { W: each(B, first(U), P) }) })),
    'same-again': mine((P, U) => ({ choose: ({ B }) => ({ W: each(B, first(U).map((p) => (calls++ % 2 ? p : p + P - U)).slice(0, 1).concat(first(P).slice(P - U + 1)), P) }) })), // prettier-ignore
    'batch': mine((P, U) => ({ choose: ({ B }) => ({ W: each(B, B === 1 ? first(U) : first(P).slice(P - U), P) }) })), // prettier-ignore
    'means': mine((P, U) => ({ choose: ({ B }) => ({ W: matrixOf(Array.from({ length: B }, () => first(U).map((p) => new Map([[p, 2]]))), P) }) }), { makesTokens: true, means: true }), // prettier-ignore
    'all': mine((P, U) => ({ leaves: 'varies', choose: ({ B }) => ({ W: each(B, first(Math.max(1, U - 1)), P) }) })), // prettier-ignore
    'last': mine((_, U) => ({ between: () => ({ cut: (l, { roles }) => (l === 1 && U < 16 ? each(roles.length, first(roles[0].filter((role) => role === 'image').length), roles[0].filter((role) => role === 'image').length) : undefined) }) }), { stages: ['between'] }), // prettier-ignore
  };

  test.each(Object.entries(broken))('%s: a method that breaks it is found', async (name, method) => {
    const wrong = await wrongOf(method, 30);
    expect(wrong.map(({ property }) => property.name)).toContain(name);
    const { message, smallest } = wrong.find(({ property }) => property.name === name)!;
    expect(message).not.toBe('');
    expect(smallest!.G).toBeLessThanOrEqual(3);
  });

  test('of a method that throws the other properties are not said to hold', async () => {
    const findings = await checkMethod(mine(() => { throw new Error('no'); }), { runs: 3 }); // prettier-ignore
    expect(findings.map(({ holds }) => holds).filter((holds) => holds === true)).toEqual([]);
    expect(findings.find(({ property }) => property.name === 'budget')).toMatchObject({
      holds: false,
      message: 'mine: prepare throws Error: no',
      smallest: { G: 1, B: 1, U: 1, seed: 0 },
    });
  });
});
