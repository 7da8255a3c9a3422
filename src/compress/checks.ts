/** What methods refuse. */
import { UserError } from '../errors.ts';
import type { Method, MethodOptions } from './method.ts';

/** @throws UserError when a method's budget is not a number of visual tokens */
export function checkBudget(method: string, budget: number, visualTokens: number): void {
  if (!Number.isInteger(budget) || budget < 1 || budget > visualTokens) {
    throw new UserError(
      `${method}: a budget of ${budget} is not between 1 and ${visualTokens} visual tokens`,
    );
  }
}

/**
 * @param name of the option, after its method's: `fastv: layer`
 * @param why it cannot be more, where it cannot
 * @throws UserError when it is not a whole number between two others
 */
export function checkWhole(name: string, value: number, from: number, to = Infinity, why?: string): void {
  if (Number.isSafeInteger(value) && value >= from && value <= to) return;
  const range = to === Infinity ? `from ${from}` : `from ${from} to ${to}`;
  throw new UserError(`${name}=${value} is not a whole number ${range}${why ? `: ${why}` : ''}`);
}

/** @throws UserError when an option that is a share is not one */
export function checkShare(name: string, share: number): void {
  if (!(share >= 0 && share <= 1)) throw new UserError(`${name}=${share} is not a share, from 0 to 1`);
}

/** @throws UserError unless a method's options are those that it has, each of its kind */
export function checkOptions({ name, defaults, help }: Method, options: MethodOptions): void {
  for (const option of Object.keys({ ...defaults, ...options })) {
    const [value, usual] = [options[option], defaults[option]] as unknown[];
    const told = `${name}: ${option}=${typeof value === 'number' ? value : (JSON.stringify(value) ?? 'undefined')}`;
    if (usual === undefined) throw new UserError(`${told}: the method has no such option`);
    if (typeof value !== typeof usual || (typeof value === 'number' && !Number.isFinite(value))) {
      throw new UserError(`${told} is not a ${typeof usual === 'number' ? 'number' : 'text'}`);
    }
    const choices = help[option]?.choices;
    if (choices && !choices.includes(value as string)) {
      throw new UserError(`${told}: choose ${choices.join(', ')}`);
    }
  }
}
