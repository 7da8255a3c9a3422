/** A cell of the table: one variant at one budget, asked every question. */
import type { Method } from '../../compress/method.ts';
import type { Costs, PromptCount, Times } from './costs.ts';
import type { KeptCounts } from './kept.ts';
import { pictureSources, type PictureSource } from '../task/task.ts';
import { keyOf, type Variant } from './variant.ts';

export interface Cell {
  variant: Variant;
  /** U, patches to keep. */
  budget: number;
  pictures: PictureSource;
}

/** What a record is made by and on; see provenance.ts. */
export type Provenance = 'commit' | 'backend' | 'machine';

/** What a cell leaves behind, as it is stored; of a shard, for its own questions. */
export interface CellRecord extends Costs {
  /** As {@link keyOf} writes it. */
  variant: string;
  budget: number;
  pictures: PictureSource;
  /** The model's answers, in the order of the task's questions. */
  answers: string[];
  /** The likeliest of each question's choices; '' where it has none that the first token tells apart. */
  restricted: string[];
  /** KL of each first token from the uncut model's, nats; where that was asked too. */
  kl?: number[];
  /** Which patches the last layer had as themselves; absent where a method acts in the tower. */
  kept?: KeptCounts;
  /** What the costs are computed from. */
  prompts: PromptCount[];
  milliseconds: Times;
  /** How many pictures were seen on the clock; all prompts and answers were. */
  seen: number;
  /** All of the cell's work, the tower's too where its pictures were not seen before. */
  seconds: number;
  /** What made it. */
  commit: string;
  backend: string;
  machine: string;
}

/** Also the name of its file. */
export const cellName = ({ variant, budget, pictures }: Cell): string =>
  `${keyOf(variant).replaceAll(':', '.')}@${budget}${pictures === 'own' ? '' : `-${pictures}`}`;

/** The model as it is, asked about the task's own pictures: what all others are held against. */
export const isUncut = ({ variant, pictures }: Cell): boolean =>
  variant.method.name === 'none' && pictures === 'own';

/** Whether all of the picture's tokens stay, whatever the budget. */
const keepsAll = ({ name, stages }: Method): boolean =>
  name === 'none' || stages.every((stage) => stage === 'output');

/**
 * All cells of an evaluation: each variant at each budget, and without compression the task's own pictures, none and
 * wrong ones.
 * @param patches P
 */
export function planCells(variants: readonly Variant[], budgets: readonly number[], patches: number): Cell[] {
  return variants.flatMap((variant): Cell[] => {
    if (!keepsAll(variant.method)) {
      return budgets.map((budget) => ({ variant, budget, pictures: 'own' }));
    }
    return pictureSources.map((pictures) => ({ variant, budget: patches, pictures }));
  });
}
