/**
 * The learning rate of a step: a straight line up, a plateau for the first half, then half a cosine down to 0.
 * @param step from 0
 */
export function learningRate(
  step: number,
  { peak, warmUp, steps }: { peak: number; warmUp: number; steps: number },
): number {
  if (step < warmUp) return (peak * (step + 1)) / warmUp;
  const plateau = Math.max(warmUp, steps / 2);
  if (step < plateau) return peak;
  return (peak / 2) * (1 + Math.cos((Math.PI * (step - plateau)) / (steps - plateau)));
}

/** 1 until the step `from`, then a straight line down to 0 at `to`. */
export function fade(step: number, from: number, to: number): number {
  return Math.min(1, Math.max(0, (to - step) / (to - from)));
}
