import { pickingSame } from '../tensor/token-matrix.ts';
import type { Stages } from './method.ts';

/** What a method does that keeps the same patches of every picture, whatever it shows. @param places U of P */
export const keepSame = (places: readonly number[], P: number, words: string): Stages => ({
  words: { 'compress.matrix': words },
  choose: ({ B }) => ({ W: pickingSame(places, B, P) }),
});
