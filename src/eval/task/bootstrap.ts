/** Intervals over pictures: questions about one picture stand and fall together, so pictures are what is drawn anew. */
import { createRandom } from '../../random.ts';
import { mean, withInterval, type Accuracy } from './score.ts';

/** A mean over n questions with its 95 % interval. */
export interface Estimate {
  n: number;
  mean: number;
  low: number;
  high: number;
}

export interface Bootstrap {
  /** @param values of each question; undefined for those that do not count. At least one must */
  mean(values: readonly (number | undefined)[]): Estimate;
  /** The same of marks from 0 to 1. Where no draw differs, as when all are right, Wilson's interval for the pictures. */
  share(values: readonly (number | undefined)[]): Accuracy;
}

/**
 * The percentile bootstrap over clusters (Efron and Tibshirani 1993): as many pictures as there are, drawn with replacement,
 * each with all its questions; the mean over the questions that were drawn; 2.5 % of such means lie below the interval and
 * 2.5 % above. The draws are the same for all that is asked of one bootstrap, so that differences are paired.
 * @param pictures of each question its picture
 */
export function createBootstrap(pictures: readonly number[], draws = 1000, seed = 0): Bootstrap {
  const N = Math.max(...pictures) + 1;
  const random = createRandom(seed);
  const times = new Uint16Array(draws * N); // how often each draw has each picture
  for (let draw = 0; draw < draws; draw++) {
    for (let i = 0; i < N; i++) times[draw * N + Math.floor(random() * N)]++;
  }
  const estimate: Bootstrap['mean'] = (values) => {
    const [sums, counts] = [new Float64Array(N), new Float64Array(N)];
    for (const [i, value] of values.entries()) {
      if (value === undefined) continue;
      sums[pictures[i]] += value;
      counts[pictures[i]]++;
    }
    const total = (of: Float64Array) => of.reduce((sum, x) => sum + x, 0);
    const means: number[] = [];
    for (let draw = 0; draw < draws; draw++) {
      let [sum, count] = [0, 0];
      for (let p = 0; p < N; p++) {
        const often = times[draw * N + p];
        sum += often * sums[p];
        count += often * counts[p];
      }
      if (count > 0) means.push(sum / count);
    }
    means.sort((a, b) => a - b);
    const [low, high] = [0.025, 0.975].map((share) => means[Math.round(share * (means.length - 1))]);
    return { n: total(counts), mean: total(sums) / total(counts), low, high };
  };
  return {
    mean: estimate,
    share(values) {
      const { n, mean: accuracy, low, high } = estimate(values);
      if (high > low) return { n, accuracy, low, high };
      const shown = new Set(pictures.filter((_, i) => values[i] !== undefined)).size;
      return { ...withInterval(accuracy, shown), n };
    },
  };
}

/** Of each question the mean over several runs; undefined where none of them counts it. */
export function meanOfRuns(runs: readonly (readonly (number | undefined)[])[]): (number | undefined)[] {
  return runs[0].map((_, i) => {
    const counted = runs.flatMap((run) => run[i] ?? []);
    return counted.length === 0 ? undefined : mean(counted);
  });
}
