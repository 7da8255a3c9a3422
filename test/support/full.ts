/** `npm test` does a sample of what is long, the same one every time; `npm run test:full` does all. */
export const full = Boolean(process.env['FULL']);

/** Also done where CI has set up TensorFlow, which runs single folders, not the full suite. */
export const fullOrCI = full || Boolean(process.env['CI']);

/** All cases in the full run, else `count` of them, evenly spread from the first to the last. */
export function sampleOf<T>(cases: readonly T[], count: number, what: string): readonly T[] {
  if (full || count >= cases.length) return cases;
  console.warn(`${what}: ${count} of ${cases.length}; npm run test:full does all`);
  const step = (cases.length - 1) / Math.max(1, count - 1);
  return Array.from({ length: count }, (_, i) => cases[Math.round(i * step)]);
}
