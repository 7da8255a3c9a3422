/** G, the patches of a side of a square picture. */
export function gridOf(P: number): number {
  const G = Math.sqrt(P);
  if (!Number.isInteger(G)) throw new Error(`${P} patches are no square grid`);
  return G;
}
