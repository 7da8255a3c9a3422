/** What a check finds: a property that does not hold, what shows it, and why it should hold. */
export interface Violation {
  property: string;
  message: string;
  why: string;
}

/** Collects what is wrong, each property's sentence from a table. */
export function violations<Property extends string>(whys: Record<Property, string>) {
  const found: Violation[] = [];
  return {
    found,
    /** Notes a property that does not hold, where there is a message. */
    add(this: void, property: Property, message: string | undefined): void {
      if (message !== undefined) found.push({ property, message, why: whys[property] });
    },
  };
}

/** Violations as an error's message, one a line. */
export const formatViolations = (found: readonly Violation[]): string =>
  found.map(({ property, message, why }) => `${property}: ${message} (${why})`).join('\n');

/** @throws Error telling all that is wrong, where anything is: for an `expect` of whatever test runner */
export function assertNone(found: readonly Violation[]): void {
  if (found.length > 0) throw new Error(formatViolations(found));
}
