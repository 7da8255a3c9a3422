/**
 * npm run bench -- --only llava-7b [--rounds 3] [--layers 2] [--weights-as stored] [--no-peers]
 *
 * A LLaVA of a published shape, with weights of our own, from file to answer: each round loads it, answers with all visual tokens
 * and with fewer, and frees it; then Hugging Face does the same from the same folder, in a process of its own. Both at once
 * would not fit.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import * as tf from '@tensorflow/tfjs-core';
import { startBackend } from '../../src/backend/start.ts';
import { productsInUse } from '../../src/backend/native-half.ts';
import type { Keeping } from '../../src/checkpoint/keeping.ts';
import { UserError } from '../../src/errors.ts';
import { loadModel, openWeights, readArchitecture } from '../../src/node/checkpoint.ts';
import { writeText } from '../../src/node/files.ts';
import { patchCount } from '../../src/vision/config.ts';
import { describeHost } from '../machine.ts';
import { textTokens } from '../shapes.ts';
import { fill, inputRecipe } from '../weights.ts';
import { newTokens, take, timeAnswer, type Taken } from './answer.ts';
import { makeCheckpoint, sizeOf } from './checkpoint.ts';
import { startLlavaPeer, type LlavaPeer } from './peer.ts';
import { describe, type LargeResults, type Series } from './report.ts';
import type { LargeName } from './shapes.ts';

export interface LargeOptions {
  layers?: number;
  rounds: number;
  weightsAs?: Keeping;
  peers: boolean;
  /** The results' name, and their folder. */
  name: string;
  folder: string;
}

export async function runLarge(shape: LargeName, options: LargeOptions): Promise<void> {
  const { layers, rounds, weightsAs } = options;
  const say = (line: string) => console.error(line);
  const dir = await makeCheckpoint(shape, { layers, say });
  const backend = await startBackend('tensorflow');
  const architecture = await readArchitecture(dir);
  if (architecture.kind !== 'llava') throw new UserError(`${dir} holds no LLaVA`);
  const P = patchCount(architecture.vision);
  const budgets = [P, 256, 128, 64].filter((U) => U <= P);
  const scratch = await mkdtemp(path.join(tmpdir(), 'vtc-large-'));
  const pixels = path.join(scratch, 'pixels.f32');
  const { image_size: S } = architecture.vision;
  await writeFile(pixels, new Uint8Array(fill(inputRecipe('pixels', [1, S, S, 3])).buffer));
  const files = await openWeights(dir);
  const fileBytes = await sizeOf(files.files);
  await files.close();

  const ours: Series = { who: 'vtc-cls', version: backend.version, loading: [], peakBytes: 0, budgets: {} };
  const theirs: Series[] = [];
  const floors: { flops: number[]; bytes: number[] } = { flops: [], bytes: [] };
  let flops: Record<number, number> = {};
  let keeping: Keeping | undefined;
  try {
    for (let round = 1; round <= rounds; round++) {
      say(`round ${round} of ${rounds}: loading`);
      const { made: model, taken } = await take(() => loadModel(dir, undefined, { weightsAs }));
      try {
        keeping = model.weightsAs;
        ours.loading.push(taken);
        if (round === 1) await timeAnswer(model.llava!, 64, 2); // everything has run once
        for (const U of budgets) {
          say(`round ${round}: ${U} visual tokens`);
          const { seeing, reading, writing, tokens, flops: count } = await timeAnswer(model.llava!, U);
          add(ours, U, { seeing, reading, writing });
          ours.budgets[U].answer = tokens;
          flops = { ...flops, [U]: count };
        }
        const floor = await measureFloor();
        floors.flops.push(floor.flops);
        floors.bytes.push(floor.bytes);
      } finally {
        model.dispose();
      }
      ours.peakBytes = Math.max(ours.peakBytes, 1024 * process.resourceUsage().maxRSS);
      collectGarbage(); // what was read lies in arrays of JavaScript's: the peer needs their room
      if (options.peers) await runPeers(dir, pixels, budgets, theirs, say);
    }
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
  const results: LargeResults = {
    shape,
    layers: architecture.text.num_hidden_layers,
    machine: describeHost(),
    rounds,
    keeping: keeping!,
    form: productsInUse().form,
    fileBytes,
    flops,
    floors,
    series: [ours, ...theirs],
    config: architecture,
    textTokens,
    newTokens,
  };
  const text = describe(results);
  console.log(text);
  await writeText(path.join(options.folder, `${options.name}.json`), `${JSON.stringify(results, null, 2)}\n`);
  await writeText(path.join(options.folder, `${options.name}.md`), text);
}

function collectGarbage(): void {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
}

function add(series: Series, U: number, taken: Record<'seeing' | 'reading' | 'writing', Taken>): void {
  const at = (series.budgets[U] ??= { seeing: [], reading: [], writing: [] });
  for (const step of ['seeing', 'reading', 'writing'] as const) at[step].push(taken[step]);
}

/** Loads the folder in one more process, in bfloat16, answers, and ends it. */
async function runPeers(
  dir: string,
  pixels: string,
  budgets: readonly number[],
  series: Series[],
  say: (line: string) => void,
): Promise<void> {
  let peer: LlavaPeer | undefined;
  try {
    peer = await startLlavaPeer(dir, 'bfloat16');
    const who = `Hugging Face, bfloat16`;
    let mine = series.find((one) => one.who === who);
    if (!mine) series.push((mine = { who, version: peer.version, loading: [], peakBytes: 0, budgets: {} }));
    mine.loading.push(peer.loading);
    for (const U of budgets) {
      say(`Hugging Face: ${U} visual tokens`);
      const reply = await peer.answer({ tokens: U, written: newTokens, text: textTokens, pixels });
      add(mine, U, reply);
      mine.peakBytes = Math.max(mine.peakBytes, reply.peakBytes);
    }
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    say(`skipped: ${error.message}`);
  } finally {
    peer?.close();
  }
}

/** The machine's rates in the same round: a float32 product of a prompt's rows, and a sum over memory. */
async function measureFloor(): Promise<{ flops: number; bytes: number }> {
  const best = async (work: () => tf.Tensor) => {
    let least = Infinity;
    for (let i = 0; i < 5; i++) {
      const start = performance.now();
      const made = work();
      await tf.slice(tf.reshape(made, [-1]), 0, 1).data();
      least = Math.min(least, (performance.now() - start) / 1000);
      made.dispose();
    }
    return least;
  };
  const [a, b] = [tf.ones([2048, 2048]), tf.ones([2048, 2048])];
  const x = tf.ones([2 ** 26]);
  try {
    const flops = (2 * 2048 ** 3) / (await best(() => tf.matMul(a, b)));
    const bytes = (4 * 2 ** 26) / (await best(() => tf.sum(x)));
    return { flops, bytes };
  } finally {
    tf.dispose([a, b, x]);
  }
}
