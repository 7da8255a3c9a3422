/** What a run looked at and kept, as a picture: in a file, and in the terminal. */
import { followPatches } from '../eval/run/follow.ts';
import type { LlavaConfig } from '../checkpoint/architecture.ts';
import type { LoadedPicture } from '../inputs.ts';
import { encodePng } from '../node/decode.ts';
import { drawBoxes } from '../report/boxes.ts';
import { blank } from '../report/canvas.ts';
import { drawSheet, drawSquare, type Panel } from '../report/heatmap.ts';
import { showPixels } from '../image/show.ts';
import { colourDepth, paintPictures, shadePicture } from '../report/terminal.ts';
import { gridSide } from '../vision/config.ts';
import type { QuestionResult } from './ask.ts';

/** The sheet: picture, each ensembled layer's [CLS] attention, their ensemble, and what was kept. */
export async function saveHeatmap(
  file: string,
  { vision }: LlavaConfig,
  { values, config }: LoadedPicture,
  { layerScores, answer: { scores, kept } }: QuestionResult,
): Promise<void> {
  const grid = gridSide(vision);
  const panels: Panel[] = [{ title: 'what the model sees' }];
  for (const [layer, values] of layerScores)
    panels.push({ title: `[CLS] attention, layer ${layer}`, values });
  if (scores) panels.push({ title: 'scores', values: [...scores[0]] });
  if (kept) panels.push({ title: `kept: ${kept[0].length} of ${grid ** 2}`, kept: kept[0] });
  const picture = showPixels(values, vision.image_size, config);
  await encodePng(await drawSheet(picture, { grid, patch: vision.patch_size }, panels, 3), file);
}

/** What the model sees, with boxes in shares of its side. */
export async function saveBoxes(
  file: string,
  { vision }: LlavaConfig,
  { values, config }: LoadedPicture,
  boxes: readonly (readonly number[])[],
): Promise<void> {
  await encodePng(drawBoxes(showPixels(values, vision.image_size, config), boxes), file);
}

/** Picture, scores and what became of the patches, side by side, where standard output is a terminal with colours. */
export async function paintRun(
  config: LlavaConfig,
  picture: LoadedPicture,
  { answer: { scores }, matrices, keepsCls }: QuestionResult,
): Promise<void> {
  if (colourDepth(process.stdout) < 8) return;
  const [{ kept, groups, made }] = followPatches(matrices.values(), keepsCls);
  const scored = scores ? [{ values: [...scores[0]] }] : [];
  await paintPanels(config, picture, [{}, ...scored, made > 0 ? { groups } : { kept }]);
}

/** Panels side by side: in colours, or each patch a character where there are none. */
export async function paintPanels(
  { vision }: LlavaConfig,
  { values, config }: LoadedPicture,
  panels: readonly Omit<Panel, 'title'>[],
): Promise<void> {
  const S = vision.image_size;
  const depth = colourDepth(process.stdout);
  const seen = showPixels(values, S, config);
  const picture = depth < 8 && panels.at(-1)?.values ? blank(S, S) : seen; // values alone, where only brightness shows
  const patches = { grid: gridSide(vision), patch: vision.patch_size };
  const squares = await Promise.all(panels.map((panel) => drawSquare(picture, patches, panel)));
  const columns = Math.min(40, Math.floor(((process.stdout.columns ?? 80) - 4) / 3));
  if (depth >= 8) console.log(paintPictures(squares, Math.max(columns, 10), depth));
  else console.log(shadePicture(squares.at(-1)!, patches.grid));
}
