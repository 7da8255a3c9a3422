import * as tf from '@tensorflow/tfjs-core';
import { Presets, SingleBar } from 'cli-progress';
import type { Keeping } from '../checkpoint/keeping.ts';
import { joinClip, type Model } from '../checkpoint/load.ts';
import { loadModel } from '../node/checkpoint.ts';
import { formatBytes } from '../report/format.ts';

/**
 * A progress bar on standard error: only on a terminal, quiet in a pipe.
 * @param everyMinutes of work that takes hours: elsewhere than on a terminal it is told so often how much is left
 */
export function createBar(what: string, format: (value: number) => string = String, everyMinutes?: number) {
  const bar = new SingleBar(
    {
      format: `${what} {bar} {percentage} %  {shown} of {all}`,
      hideCursor: true,
      clearOnComplete: true,
      stream: process.stderr,
    },
    Presets.shades_classic,
  );
  let started = false;
  const log = everyMinutes === undefined ? undefined : createLog(what, everyMinutes);
  return {
    update: (done: number, total: number) => {
      if (!process.stderr.isTTY) return log?.(done, total);
      if (!started) bar.start(total, 0, { shown: format(0), all: format(total) });
      started = true;
      bar.update(done, { shown: format(done), all: format(total) });
    },
    stop: () => {
      if (started) bar.stop();
    },
  };
}

/** A line now and then, in the log of a job say. What was done before the first call counts as nothing. */
function createLog(what: string, everyMinutes: number): (done: number, total: number) => void {
  const started = Date.now();
  let [told, before] = [started, undefined as number | undefined];
  return (done, total) => {
    before ??= done;
    const now = Date.now();
    if (now - told < everyMinutes * 60_000 || done === before) return;
    told = now;
    const left = ((now - started) * (total - done)) / (done - before);
    console.error(`${what} ${done} of ${total}, ${formatDuration(left / 1000)} left`);
  };
}

/** 40 s, 12 min, 3 h 5 min */
export function formatDuration(seconds: number): string {
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** Shows which of a decoder's layers is read, and is gone after the last. */
function createLayerBar(): (layer: number, count: number) => void {
  let bar: ReturnType<typeof createBar> | undefined;
  return (layer, count) => {
    bar ??= createBar('reading layers');
    bar.update(layer + 1, count);
    if (layer + 1 < count) return;
    bar.stop();
    bar = undefined;
  };
}

/** What else a command's model is loaded with. */
export interface LoadRequest {
  /** The CLIP that a LLaVA's questions are read by, see {@link joinClip}. */
  clip?: string;
  weightsAs?: Keeping;
}

/** {@link loadModel} under a progress bar; where layers are streamed, each pass through them has one. */
export async function loadWithBar(
  dir: string,
  { clip: clipDir, weightsAs }: LoadRequest = {},
): Promise<Model> {
  const bar = createBar(`loading ${dir}`, formatBytes);
  let model: Model;
  try {
    model = await loadModel(dir, bar.update, { weightsAs, onLayer: createLayerBar() });
  } finally {
    bar.stop();
  }
  if (clipDir === undefined) return model;
  let clip: Model | undefined;
  const dispose = () => {
    model.dispose();
    clip?.dispose();
  };
  try {
    clip = await loadWithBar(clipDir); // small
    const llava = await joinClip(model.llava!, clip.clip!, clipDir); // as their configs say
    tf.dispose(clip.vision!.weights as unknown as tf.TensorContainer);
    return { ...model, llava, dispose };
  } catch (error) {
    dispose();
    throw error;
  }
}
