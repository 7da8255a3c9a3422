/** What a model is asked: pictures, and questions about them with their right answers. */
import type { Picture } from '../../image/picture.ts';
import type { PreprocessConfig } from '../../image/preprocess.ts';
import type { MarkerName, Truth } from './scoring.ts';

/** Corners [x0, y0, x1, y1] as shares of the picture's width and height, 0 to 1. */
export type ObjectBox = readonly [number, number, number, number];

export interface TaskPicture {
  id: string;
  /**
   * Draws or decodes it, when its turn comes.
   * @param config what will be done with it: a file that this would make too large is refused before it is decoded
   */
  read: (config?: PreprocessConfig) => Picture | Promise<Picture>;
  /** Where its objects are, for a task that knows; see focus.ts. */
  objects?: readonly ObjectBox[];
}

export interface TaskQuestion extends Truth {
  id: string;
  /** The picture it is about, an index. */
  picture: number;
  question: string;
  type: string;
  /** The kind of thing that it speaks of, where that is one thing: `small shape`. */
  about?: string;
  /** All answers that questions of its type have, where there are no others. */
  choices?: readonly string[];
  /** What each number token of the question stands for, in order. */
  numbers?: readonly (readonly number[])[];
}

export interface Task {
  /** With all that decides what is in it: `world, test split, 1000 scenes`. */
  name: string;
  scoring: MarkerName;
  /** In the order in which questions come to them. */
  pictures: TaskPicture[];
  /** A picture in which nothing stands; grey where there is none. */
  blank?: TaskPicture;
  questions: TaskQuestion[];
}

/**
 * A task's pictures, or what they are replaced by to see how much of the accuracy the language alone explains: a grey
 * picture for all, or for each the next one's.
 */
export const pictureSources = ['own', 'grey', 'wrong'] as const;
export type PictureSource = (typeof pictureSources)[number];

export function takePictures({ pictures }: Task, source: PictureSource): TaskPicture[] {
  if (source === 'own') return pictures;
  if (source === 'wrong') return pictures.map((_, i) => pictures[(i + 1) % pictures.length]);
  return pictures.map(({ id, read }) => ({
    id,
    read: async (config) => fillGrey(await read(config)),
  }));
}

/** What `--fill blank` puts where patches were dropped. */
export const blankOf = ({ blank }: Task): TaskPicture =>
  blank ?? { id: 'grey', read: () => fillGrey({ width: 32, height: 32 }) };

/** A picture of that size, all of it grey. */
const fillGrey = ({ width, height }: Pick<Picture, 'width' | 'height'>): Picture => ({
  width,
  height,
  data: new Uint8Array(width * height * 3).fill(128),
});
