/** Does the work of an evaluation that is not done yet. */
import type { PreprocessConfig } from '../../image/preprocess.ts';
import { prepare, resourcesOf } from '../../plan.ts';
import { openAlbum, type Album } from './album.ts';
import { answerCell, type Exam } from './answer.ts';
import { joinNeeds, type Cell, type CellRecord, type Provenance } from './cell.ts';
import { keyOf } from './variant.ts';
import { focusLayers, measureFocus, type FocusCounts } from './focus.ts';
import { shardPictures, whole, type Shard } from '../shards/shard.ts';
import { pictureSources, takePictures } from '../task/task.ts';

export interface Evaluation extends Exam {
  preprocessing: PreprocessConfig;
  /** What the tower makes of pictures is kept for the next cell up to so many bytes. */
  keepBytes?: number;
  /** Which part of the pictures is this one's; all where absent. */
  shard?: Shard;
}

/** What is left to do, and where its results go. */
export interface Work {
  cells: readonly Cell[];
  onCell: (cell: Cell, record: Omit<CellRecord, Provenance>) => Promise<void>;
  /** Given where it is wanted; see {@link canFocus}. */
  onFocus?: (focus: FocusCounts) => Promise<void>;
  /** Called with the number of questions answered since the last call. */
  onQuestions?: (count: number) => void;
}

/** Cell by cell; the vision tower runs once for all cells that show the same pictures. */
export async function evaluate(
  exam: Evaluation,
  { cells, onCell, onFocus, onQuestions }: Work,
): Promise<void> {
  for (const pictures of pictureSources) {
    const shown = cells.filter((cell) => cell.pictures === pictures);
    const focus = pictures === 'own' ? onFocus : undefined;
    if (shown.length === 0 && !focus) continue;
    const some = resourcesOf(exam.prompts.slice(0, 1));
    const needs = shown.map(
      ({ variant, budget }) => prepare(exam.model.config, { ...variant, budget }, some).needs,
    );
    if (focus) needs.push({ clsAttention: focusLayers(exam.model.config) });
    const album = openAlbum(exam.model, takePictures(exam.task, pictures), {
      preprocessing: exam.preprocessing,
      needs: joinNeeds(needs),
      only: shardPictures(exam.shard ?? whole, exam.task.pictures.length),
      keepBytes: shown.length > 1 || focus ? (exam.keepBytes ?? 2 ** 30) : 0,
    });
    try {
      if (focus) await focus(await measureFocus(exam.model, exam.task, album));
      for (const cell of shown) await onCell(cell, await answer(exam, cell, album, onQuestions));
    } finally {
      album.dispose();
    }
  }
}

async function answer(exam: Exam, cell: Cell, album: Album, onQuestions?: (count: number) => void) {
  const { variant, budget, pictures } = cell;
  return { variant: keyOf(variant), budget, pictures, ...(await answerCell(exam, cell, album, onQuestions)) };
}
