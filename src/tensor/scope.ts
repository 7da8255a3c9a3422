/** A tensor, a record, list or map of them, or what has a way of its own to be disposed. */
export type Ownable = object | undefined;

/** What {@link scope} makes: call it with what it is to own. */
export interface Scope extends Disposable {
  /** Takes it over and hands it back. */
  <T extends Ownable>(owned: T): T;
  /** Gives it, and all that it holds, to the caller after all: what a function returns. */
  keep<T extends Ownable>(result: T): T;
}

/**
 * Owns tensors until its block ends, by whatever way it ends: the `tf.tidy` of a function that waits.
 *
 *     using own = scope();
 *     const F = own(selectFeatures(hidden)); // gone at the closing brace
 *     return own.keep(project(projector, F)); // the caller's
 */
export function scope(): Scope {
  const owned: Ownable[] = [];
  const kept = new Set<Disposer>();
  const own = <T extends Ownable>(one: T): T => {
    owned.push(one);
    return one;
  };
  return Object.assign(own, {
    keep: <T extends Ownable>(result: T): T => {
      visit(result, (leaf) => kept.add(leaf));
      return result;
    },
    [Symbol.dispose]: () => {
      for (const one of owned.reverse()) visit(one, (leaf) => kept.has(leaf) || leaf.dispose());
    },
  });
}

/** Frees whatever a scope can own. */
export const free = (one: unknown): void => visit(one, (leaf) => leaf.dispose());

type Disposer = { dispose(): void };

function visit(one: unknown, leaf: (found: Disposer) => void): void {
  if (typeof one !== 'object' || one === null || ArrayBuffer.isView(one)) return;
  if ('dispose' in one && typeof one.dispose === 'function') leaf(one as Disposer);
  else for (const part of one instanceof Map ? one.values() : Object.values(one)) visit(part, leaf);
}
