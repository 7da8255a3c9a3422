/** Does [CLS] look at the objects? Measured without any question. */
import type { LlavaConfig } from '../../checkpoint/architecture.ts';
import type { Llava } from '../../checkpoint/load.ts';
import { ensembles } from '../../compress/ensemble.ts';
import { readPictures } from '../../compress/host.ts';
import { scoreByCls } from '../../compress/score.ts';
import { keepTopK } from '../../compress/top-k.ts';
import { vtcCls, ensembledLayers } from '../../compress/vtc-cls.ts';
import { gridSide } from '../../vision/config.ts';
import { describeSource } from '../../plan.ts';
import type { Album } from './album.ts';
import type { ObjectBox, Task, TaskPicture } from '../task/task.ts';

/** Of the patches that [CLS] attends to most, the share that lies on objects. */
export interface Focus {
  /** How many patches of each picture are looked at. */
  patches: number;
  /** The share of all patches that lie on objects: what a blind choice would reach. */
  chance: number;
  /** By what ranks the patches: `layer 3`, `layers 1–3, sum`. */
  shares: Record<string, number>;
}

/** What was counted, so that parts of a task's pictures join exactly. */
export interface FocusCounts {
  patches: number;
  /** Of how many pictures, of P patches each. */
  pictures: number;
  patchesEach: number;
  /** Patches that lie on objects. */
  onObjects: number;
  /** The same among the most attended ones. */
  hits: Record<string, number>;
}

/** The share of patches that count as the most attended. */
const topShare = 0.125;

/** The layers that are measured: all up to the selected one. */
export const focusLayers = (config: LlavaConfig): number[] =>
  Array.from({ length: describeSource(config).selectedLayer + 1 }, (_, layer) => layer);

/** Whether there is anything to measure: a task that knows its objects, features that come after some attention, a [CLS]. */
export const canFocus = (config: LlavaConfig, { pictures }: Task): boolean =>
  pictures.every(({ objects }) => objects) &&
  focusLayers(config).length > 0 &&
  describeSource(config).prefixTokens === 1;

/**
 * Of every layer, and of VTC-CLS's default ensemble, the share of the top 12.5 % of patches that an object touches.
 * @param album of the task's own pictures, with the [CLS] rows of {@link focusLayers}
 */
export async function measureFocus(
  { config }: Pick<Llava, 'config'>,
  task: Task,
  album: Pick<Album, 'chunks' | 'lend'>,
): Promise<FocusCounts> {
  const grid = gridSide(config.vision);
  const onObject = task.pictures.map(({ objects = [] }) => touchedPatches(objects, grid));
  const top = topPatches(config);
  const rankings = rankPatches(config);
  const hits: Record<string, number> = Object.fromEntries(rankings.map(({ name }) => [name, 0]));
  for (const [chunk, pictures] of album.chunks.entries()) {
    await album.lend(chunk, async ({ clsAttention }) => {
      for (const { name, layers } of rankings) {
        const scores = await readPictures('scores', () =>
          ensembles[vtcCls.defaults.ensemble](layers.map((l) => scoreByCls(clsAttention.get(l)!))),
        );
        const rows = keepTopK(scores, top); // [B][top]
        for (const [b, picture] of pictures.entries()) {
          hits[name] += rows[b].filter((patch) => onObject[picture][patch]).length;
        }
      }
    });
  }
  const pictures = album.chunks.flat().map((i) => task.pictures[i]);
  return { patches: top, pictures: pictures.length, ...countOnObjects(config, pictures), hits };
}

/** How many of a picture's patches are looked at. */
export const topPatches = ({ vision }: LlavaConfig): number =>
  Math.max(1, Math.round(topShare * gridSide(vision) ** 2));

/** By what patches are ranked: each layer, and VTC-CLS's default ensemble. */
export function rankPatches(config: LlavaConfig): { name: string; layers: number[] }[] {
  const layers = focusLayers(config);
  const together = ensembledLayers(describeSource(config), Math.min(vtcCls.defaults.layers, layers.length));
  return [
    ...layers.map((layer) => ({ name: `layer ${layer}`, layers: [layer] })),
    { name: `layers ${together[0]} to ${together.at(-1)}, ${vtcCls.defaults.ensemble}`, layers: together },
  ];
}

/** How many patches some pictures have, each, and how many of all lie on objects. */
export function countOnObjects(
  { vision }: LlavaConfig,
  pictures: readonly TaskPicture[],
): Pick<FocusCounts, 'patchesEach' | 'onObjects'> {
  const grid = gridSide(vision);
  const counts = pictures.map(({ objects = [] }) => touchedPatches(objects, grid).filter(Boolean).length);
  return { patchesEach: grid ** 2, onObjects: counts.reduce((sum, n) => sum + n, 0) };
}

/** Counts as shares. */
export function focusOf({ patches, pictures, patchesEach, onObjects, hits }: FocusCounts): Focus {
  const shares = Object.entries(hits).map(([name, count]) => [name, count / (pictures * patches)] as const);
  return {
    patches,
    chance: onObjects / (pictures * patchesEach),
    shares: Object.fromEntries(shares),
  };
}

/** Counts of several parts of a task's pictures. */
export function joinFocus(parts: readonly FocusCounts[]): FocusCounts {
  const sum = (of: (part: FocusCounts) => number) => parts.reduce((total, part) => total + of(part), 0);
  const names = Object.keys(parts[0].hits);
  return {
    ...parts[0],
    pictures: sum(({ pictures }) => pictures),
    onObjects: sum(({ onObjects }) => onObjects),
    hits: Object.fromEntries(names.map((name) => [name, sum(({ hits }) => hits[name])])),
  };
}

/** Which patches of a G × G grid over the picture a box covers any part of, in raster order. */
export function touchedPatches(boxes: readonly ObjectBox[], grid: number): boolean[] {
  return Array.from({ length: grid ** 2 }, (_, patch) => {
    const [x, y] = [patch % grid, Math.floor(patch / grid)];
    return boxes.some(
      ([x0, y0, x1, y1]) => x0 * grid < x + 1 && x1 * grid > x && y0 * grid < y + 1 && y1 * grid > y,
    );
  });
}
