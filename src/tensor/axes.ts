/**
 * The axis legend. Every shape in this project, its tests and its pages is written with these letters.
 *
 *     B  batch                       K  layers in the ensemble
 *     S  side of the square image    U  visual tokens kept (the budget)
 *     P  patches = (S / patch)²      E  decoder width
 *     N  vision tokens = 1 + P       T  decoder sequence length
 *     D  vision width                V  vocabulary
 *     H  attention heads             R  tokens generated
 *     G  key/value heads (G ≤ H)     C  channels of one head, D / H or E / H
 */

/** The letters of a spec such as `"B N D"`; a number in a spec is an axis of that exact length. */
export type AxisOf<Spec extends string> = Spec extends `${infer First} ${infer Rest}`
  ? AxisOf<First> | AxisOf<Rest>
  : Spec extends `${number}`
    ? never
    : Spec;

/** The length of each axis of a spec. */
export type Dims<Spec extends string> = Record<AxisOf<Spec>, number>;

/**
 * Checks a tensor's shape against the legend and returns the length of each axis.
 *
 *     const { B, N } = shape({ hidden }, 'B N D', { D: config.hidden_size });
 *
 * A letter that occurs twice must have one length, a letter in `known` must have that length.
 * @param argument one tensor under the name it has at the caller, for the message
 * @throws ShapeError naming the argument, the shape it has and the shape it should have
 */
export function shape<const Spec extends string>(
  argument: Record<string, { readonly shape: readonly number[] }>,
  spec: Spec,
  known: Partial<Dims<Spec>> = {},
): Dims<Spec> {
  const [name, tensor] = Object.entries(argument)[0];
  const axes = spec.split(' ');
  const dims = { ...known } as Record<string, number>;
  const fits = axes.every((axis, i) => {
    const wanted = /^\d+$/.test(axis) ? Number(axis) : (dims[axis] ??= tensor.shape[i]);
    return wanted === tensor.shape[i];
  });
  if (!fits || axes.length !== tensor.shape.length) {
    const knownText = Object.entries(known).map(([axis, length]) => `${axis}=${String(length)}`);
    throw new ShapeError(
      `${name} is [${tensor.shape.join(', ')}], expected [${axes.join(', ')}]` +
        (knownText.length > 0 ? ` with ${knownText.join(', ')}` : ''),
    );
  }
  return dims as Dims<Spec>;
}

/** A tensor that does not have the shape its name promises: a bug in the caller. */
export class ShapeError extends Error {
  override name = 'ShapeError';
}
