import { Presets, SingleBar } from 'cli-progress';
import { loadModel, type Model } from '../checkpoint/load.ts';
import { formatBytes } from './format.ts';

/** A progress bar on standard error: only on a terminal, quiet in a pipe. */
export function createBar(what: string, format: (value: number) => string = String) {
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
  return {
    update: (done: number, total: number) => {
      if (!process.stderr.isTTY) return;
      if (!started) bar.start(total, 0, { shown: format(0), all: format(total) });
      started = true;
      bar.update(done, { shown: format(done), all: format(total) });
    },
    stop: () => {
      if (started) bar.stop();
    },
  };
}

/** {@link loadModel} under a progress bar. */
export async function loadWithBar(dir: string): Promise<Model> {
  const bar = createBar(`loading ${dir}`, formatBytes);
  try {
    return await loadModel(dir, bar.update);
  } finally {
    bar.stop();
  }
}
