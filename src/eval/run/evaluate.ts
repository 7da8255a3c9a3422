/** Does the work of an evaluation that is not done yet. */
import * as tf from '@tensorflow/tfjs-core';
import type { PreprocessConfig } from '../../image/preprocess.ts';
import { prepare, resourcesOf } from '../../plan.ts';
import { scope } from '../../tensor/scope.ts';
import { openAlbum } from './album.ts';
import { answerCell, type Exam } from './answer.ts';
import { isUncut, type Cell, type CellRecord, type Provenance } from './cell.ts';
import { joinNeeds } from './needs.ts';
import type { Filling } from './fill.ts';
import type { FirstToken } from './first.ts';
import { keyOf } from './variant.ts';
import { focusLayers, measureFocus, type FocusCounts } from './focus.ts';
import { shardPictures, whole, type Shard } from '../shards/shard.ts';
import { blankOf, pictureSources, takePictures } from '../task/task.ts';

export interface Evaluation extends Exam {
  preprocessing: PreprocessConfig;
  /** What the tower makes of pictures is kept for the next cell up to so many bytes. */
  keepBytes?: number;
  /** Which part of the pictures is this one's; all where absent. */
  shard?: Shard;
  /** What the places of dropped patches are filled with; see fill.ts. */
  fill?: Filling;
}

/** What is left to do, and where its results go. */
export interface Work {
  cells: readonly Cell[];
  onCell: (cell: Cell, record: Omit<CellRecord, Provenance>) => Promise<void>;
  /** What the uncut model would say first, where it was asked before; and called with it where it is asked now. */
  uncut?: readonly FirstToken[];
  onUncut?: (firsts: readonly FirstToken[]) => Promise<void>;
  /** Given where it is wanted; see {@link canFocus}. */
  onFocus?: (focus: FocusCounts) => Promise<void>;
  /** Called with the number of questions answered since the last call. */
  onQuestions?: (count: number) => void;
}

/**
 * Cell by cell; the vision tower runs once for all cells that show the same pictures. What takes one prompt at a time, or
 * leaves as many tokens as the picture makes of it, is shown the pictures one by one.
 */
export async function evaluate(
  exam: Evaluation,
  { cells, onCell, onFocus, onQuestions, onUncut, ...work }: Work,
): Promise<void> {
  using own = scope();
  const blank = exam.fill === 'blank' ? own(await seeBlank(exam)) : undefined;
  let { uncut } = work;
  const planOf = ({ variant, budget }: Cell) =>
    prepare(exam.model.config, { ...variant, budget }, resourcesOf(exam.prompts.slice(0, 1)));
  const singles = new Set(
    cells.filter((cell) => cell.variant.method.single === true || planOf(cell).leaves === 'varies'),
  );
  for (const [pictures, single] of pictureSources.flatMap((of) =>
    [false, true].map((one) => [of, one] as const),
  )) {
    const shown = cells.filter((cell) => cell.pictures === pictures && singles.has(cell) === single);
    shown.sort((a, b) => Number(isUncut(b)) - Number(isUncut(a))); // before those that are held against it
    const focus = pictures === 'own' && !single ? onFocus : undefined;
    if (shown.length === 0 && !focus) continue;
    const needs = shown.map((cell) => planOf(cell).needs);
    if (focus) needs.push({ clsAttention: focusLayers(exam.model.config) });
    const album = openAlbum(exam.model, takePictures(exam.task, pictures), {
      preprocessing: exam.preprocessing,
      needs: joinNeeds(needs),
      only: shardPictures(exam.shard ?? whole, exam.task.pictures.length),
      keepBytes: shown.length > 1 || focus ? (exam.keepBytes ?? 2 ** 30) : 0,
      chunkValues: single ? 1 : undefined,
    });
    try {
      if (focus) await focus(await measureFocus(exam.model, exam.task, album));
      for (const cell of shown) {
        const { variant, budget } = cell;
        const fills = variant.method.name === 'none' ? undefined : blank;
        const { record, firsts } = await answerCell(exam, cell, album, {
          uncut: pictures === 'own' && !isUncut(cell) ? uncut : undefined,
          blank: fills,
          single,
          onQuestions,
        });
        if (firsts) {
          uncut = firsts;
          await onUncut?.(firsts);
        }
        await onCell(cell, { variant: keyOf(variant), budget, pictures, ...record });
      }
    } finally {
      album.dispose();
    }
  }
}

/** What the tower makes of the task's blank picture: B [1, P, D]. */
async function seeBlank({ model, task, preprocessing }: Evaluation): Promise<tf.Tensor3D> {
  const album = openAlbum(model, [blankOf(task)], { preprocessing, needs: {}, keepBytes: 0 });
  return album.lend(0, ({ features }) => Promise.resolve(tf.clone(features.F())));
}
