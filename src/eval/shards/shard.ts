/** An evaluation spread over machines: each takes a share of the pictures, with all the questions about them. */
import { UserError } from '../../errors.ts';
import type { Task } from '../task/task.ts';

/** `number` of `count`, from 1. */
export interface Shard {
  number: number;
  count: number;
}

export const whole: Shard = { number: 1, count: 1 };

export const nameShard = ({ number, count }: Shard): string => `${number}/${count}`;

/** `2/4` → number 2 of 4; undefined for what is no shard. */
export function parseShard(text: string): Shard | undefined {
  const match = /^([1-9]\d*)\/([1-9]\d*)$/.exec(text);
  if (!match) return undefined;
  const [number, count] = match.slice(1).map(Number);
  return number <= count ? { number, count } : undefined;
}

/** The indices of a shard's pictures: a run of them, from ⌊(i − 1)·N/n⌋ on, up to ⌊i·N/n⌋. */
export function shardPictures({ number, count }: Shard, pictures: number): number[] {
  const [from, to] = [number - 1, number].map((i) => Math.floor((i * pictures) / count));
  return Array.from({ length: to - from }, (_, i) => from + i);
}

/** The indices of its questions, ascending: the order of the answers that it leaves. */
export function shardQuestions(shard: Shard, { pictures, questions }: Task): number[] {
  const shown = new Set(shardPictures(shard, pictures.length));
  return [...questions.keys()].filter((i) => shown.has(questions[i].picture));
}

/** @throws UserError for a share of nothing */
export function checkShard(shard: Shard, { pictures }: Task): void {
  if (shard.count > pictures.length) {
    throw new UserError(
      `--shard ${nameShard(shard)}: there are only ${pictures.length} pictures to share out`,
    );
  }
}
