import { identity } from '../tensor/token-matrix.ts';
import type { Choice, Method, Seen } from './method.ts';

/** No compression: every patch stays, whatever the budget. What every other method is measured against. */
export const none: Method = {
  name: 'none',
  paper: 'the uncompressed model',
  summary: 'keeps every patch',
  stages: ['before'],
  defaults: {},
  help: {},
  prepare: ({ patches }) => ({
    words: { 'compress.matrix': 'W changes nothing: every patch stays' },
    choose: keepAll,
    leaves: patches,
  }),
};

/** Also the part before the decoder of a method that has none there. */
export const keepAll = ({ F }: Pick<Seen, 'F'>): Choice => ({
  W: identity(F.shape[0], F.shape[1]),
});
