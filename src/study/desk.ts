/** What lies on the desk in every chapter: the shipped model, a drawn scene, and ways to print and to compare. */
import * as tf from '@tensorflow/tfjs-core';
import { startBackend } from '../backend/start.ts';
import { findMethod } from '../compress/registry.ts';
import { loadModel, readPreprocessConfig } from '../node/checkpoint.ts';
import { readAsker } from '../node/inputs.ts';
import { shippedModel } from '../node/shipped.ts';
import { prepare, type Positions } from '../plan.ts';
import { choose, see } from '../story.ts';
import { scope } from '../tensor/scope.ts';
import { drawPixels } from '../train/pictures.ts';
import { createScene, shownScene, side, type Scene } from '../world/scene.ts';

await startBackend('wasm');

/** A small LLaVA: CLIP's tower (D 96, H 4, 5 layers, P 100), a projector, a LLaMA (E 128, 4 layers, V 62). */
export const llava = (await loadModel(shippedModel())).llava!;
/** A question in words → its prompt in token ids, cut at the picture; and token ids → words. */
export const { ask, tokenizer } = await readAsker(shippedModel(), llava.config);

const preprocessing = await readPreprocessConfig(shippedModel(), side);

/** The picture of most chapters; the model has never seen it. */
export const scene = createScene('test', shownScene);

/** What is in a scene: `red cross, cyan n`. */
export const nameObjects = ({ objects }: Scene): string =>
  objects.map(({ colour, letter, kind }) => `${colour} ${letter ?? kind}`).join(', ');

/** Scenes as the tower takes them, [B, S, S, 3]. */
export const pixelsOf = (...scenes: Scene[]): tf.Tensor4D => drawPixels(scenes, preprocessing);

/** One line: tensors as their shapes, numbers to three digits, the rest as it is. */
export function print(...parts: unknown[]): void {
  console.log(parts.map(show).join('  ').trimEnd());
}

function show(part: unknown): string {
  if (part instanceof tf.Tensor) return `[${(part.shape as number[]).join(', ')}]`;
  if (typeof part === 'number' && !Number.isInteger(part)) return String(Number(part.toPrecision(3)));
  if (Array.isArray(part) || ArrayBuffer.isView(part)) return Array.from(part as number[], show).join(' ');
  return String(part);
}

/** Of a share: 0.1234 → `12.3 %`. */
export const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;

/** What a method of the registry makes of pixels, as story.ts does: see, then choose. It goes with the chapter. */
export async function compressBy(name: string, pixels: tf.Tensor4D, options: CompressOptions = {}) {
  const { budget = 25, positions, ...methodOptions } = options;
  const method = findMethod(name);
  const plan = prepare(llava.config, {
    method,
    methodOptions: { ...method.defaults, ...methodOptions },
    budget,
    positions,
  });
  using own = scope();
  const seen = own(await see(llava, pixels, plan));
  return { F: seen.features.F().clone(), ...(await choose(llava, seen, plan)) };
}

type CompressOptions = { budget?: number; positions?: Positions; layers?: number };

type Values = tf.Tensor | ArrayLike<number>;

/**
 * Holds what the chapter made by hand against what the room's function makes.
 * @param tolerance of the largest value
 * @throws Error with the largest difference, when they do not agree
 */
export async function agree(what: string, byHand: Values, room: Values, tolerance = 1e-5): Promise<void> {
  const difference = await distance(byHand, room);
  if (!(difference <= tolerance)) {
    throw new Error(`${what}: they differ by ${difference.toPrecision(3)} of the largest value`);
  }
  print('✓', what);
}

/** Says what holds, and holds it. @throws Error when it does not */
export function check(what: string, holds: boolean): void {
  if (!holds) throw new Error(`this does not hold: ${what}`);
  print('✓', what);
}

/** The largest difference of two, as a share of the second's largest value. */
export async function distance(one: Values, other: Values): Promise<number> {
  const [a, b] = await Promise.all([one, other].map(valuesOf));
  if (a.length !== b.length) return Infinity;
  const largest = b.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
  return a.reduce((most, x, i) => Math.max(most, Math.abs(x - b[i])), 0) / (largest || 1);
}

const valuesOf = async (of: Values): Promise<Float64Array> =>
  Float64Array.from(of instanceof tf.Tensor ? await of.data() : of);

/**
 * Maps of the patches side by side in the terminal, a character a patch: dark to light for least to most.
 * @param maps [P] each, of a square grid
 */
export function printMaps(...maps: ArrayLike<number>[]): void {
  const shades = ' .:-=+*#%@';
  const across = Math.sqrt(maps[0].length);
  for (let row = 0; row < across; row++) {
    const lines = maps.map((map) => {
      const values = Array.from(map);
      const most = Math.max(...values);
      return values
        .slice(row * across, (row + 1) * across)
        .map((x) => shades[Math.min(9, Math.floor((10 * x) / most))].repeat(2))
        .join('');
    });
    console.log(`|${lines.join('|  |')}|`);
  }
}
