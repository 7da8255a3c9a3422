/** Chance, under a seed: the same draws on every machine. */

/** A source of uniform numbers in [0, 1). */
export type Random = () => number;

/** Marsaglia's xorshift32 after a scramble of the seed. */
export function createRandom(seed: number): Random {
  let state = Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b) || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

/** A seed for each of many pictures; the first has the seed itself. */
export const seedOf = (seed: number, picture: number): number => seed ^ Math.imul(picture, 0x9e3779b1);

/** One of the list, each as likely. */
export function pick<T>(random: Random, from: readonly T[]): T {
  return from[Math.floor(random() * from.length)];
}

/** The list in another order (Fisher and Yates). */
export function shuffle<T>(random: Random, list: readonly T[]): T[] {
  const shuffled = [...list];
  for (let i = shuffled.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [shuffled[i], shuffled[j]] = [shuffled[j], shuffled[i]];
  }
  return shuffled;
}

/** A draw of mean 0 and variance 1 (Box and Muller). */
export function drawNormal(random: Random): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}
