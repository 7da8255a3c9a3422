import { UserError } from '../errors.ts';

/**
 * How many of P patches to keep: a count (`144`), a ratio (`0.25`, `1.0`) or a percentage (`25%`). A number with a
 * point is a ratio, one without is a count.
 * @returns U, 1 ≤ U ≤ P; a ratio is rounded to the nearest count
 * @throws UserError for anything else
 */
export function parseBudget(keep: string, patches: number): number {
  const refuse = (why: string) =>
    new UserError(`--keep ${keep}: ${why}; give 1 to ${patches} patches, a ratio such as 0.25 or 25%`);
  const match = /^(\d+|\d*\.\d+)(%?)$/.exec(keep.trim());
  if (!match) throw refuse('is not a number of patches');
  const [, digits, percent] = match;
  const isCount = percent === '' && !digits.includes('.');
  const budget = isCount ? Number(digits) : Math.round((patches * Number(digits)) / (percent ? 100 : 1));
  if (budget < 1) throw refuse(`keeps ${budget} of ${patches} patches`);
  if (budget > patches) throw refuse(`is more than the picture's ${patches} patches`);
  return budget;
}
