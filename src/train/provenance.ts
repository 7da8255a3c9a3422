/** What trained weights say of themselves: a safetensors header's metadata, texts by name. */
import { createHash } from 'node:crypto';
import { describeCommit } from '../node/provenance.ts';
import type { Scene } from '../world/scene.ts';
import { sceneKey } from '../world/split.ts';
import type { Pace } from './train.ts';

/** A stage whose data can be told. */
export type Told<S extends { name: string; pace: Pace }> = S & {
  /** What the batch of a step shows and says, as text. */
  tell: (step: number) => string;
};

/** Everything that a scene's picture hangs on. */
export const sceneText = ({ objects, backgroundSeed, frame }: Scene): string =>
  `${sceneKey(objects)} | ${backgroundSeed} | ${frame?.join(' ') ?? ''}`;

/** @returns recipe, seed, the code's commit, and a SHA-256 of all that the stage's batches show and say */
export function describeTraining(
  { name, pace, tell }: Told<{ name: string; pace: Pace }>,
  { seed, ...recipe }: { seed: number },
): Record<string, string> {
  const data = createHash('sha256');
  for (let step = 0; step < pace.steps; step++) data.update(`${tell(step)}\n`);
  return {
    stage: name,
    recipe: JSON.stringify(recipe),
    seed: String(seed),
    commit: describeCommit(),
    data_sha256: data.digest('hex'),
  };
}
