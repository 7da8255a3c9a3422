import { expect } from 'vitest';
import { UserError } from '../../src/errors.ts';

/** The sentence of a refusal; anything but a UserError fails the test. */
export async function refusal(work: Promise<unknown>): Promise<string> {
  const error: unknown = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(UserError);
  return (error as UserError).message;
}
