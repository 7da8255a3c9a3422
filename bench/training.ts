/**
 * What compression saves of training: steps with and without it in turns, each case always from the same weights and batches.
 * LLaVolta's stages of LLaVA's training, and VideoLLM-MoD's of a video LLaVA's.
 *
 *     npx tsx bench/training.ts [ROUNDS]
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { startBackend } from '../src/backend/start.ts';
import { loadModel } from '../src/node/checkpoint.ts';
import { shippedModel } from '../src/node/shipped.ts';
import { markdownTable } from '../src/report/markdown.ts';
import { registerGradients } from '../src/train/gradients.ts';
import { startLlavaFolder } from '../src/train/llava-folder.ts';
import { createLlavaStage } from '../src/train/llava-stage.ts';
import { schemes, type CompressionStage } from '../src/train/llavolta.ts';
import { startOptimizer } from '../src/train/optimizer.ts';
import { decayMask, listTensors, toVector } from '../src/train/parameters.ts';
import { llavaRecipe, videoLlmModRecipe } from '../src/train/recipe.ts';
import { takeStep, type Stage } from '../src/train/train.ts';
import { createVideoStage } from '../src/train/video-stage.ts';
import { videoTokenizer } from '../src/world/vocabulary.ts';

const rounds = Number(process.argv[2] ?? 12);
const warm = 2;

await startBackend('tensorflow');
registerGradients();
const dir = await mkdtemp(path.join(tmpdir(), 'vtc-cls-training-'));
try {
  const shares = await measure('LLaVA, uncompressed', await llavoltaStages());
  const four = (shares[1] + shares[3] + shares[4] + 1) / 4;
  console.log(`\n4stage, a quarter of the steps each: ${four.toFixed(2)} of the time\n`);
  await measure('video LLaVA, all tokens through all layers', await videoStages());
} finally {
  await rm(dir, { recursive: true });
}

/** Each of LLaVolta's stages alone, from the first step to the last; the uncompressed one first. */
async function llavoltaStages() {
  const throughout = ({ layer, stride }: CompressionStage): CompressionStage[] => [
    { until: Infinity, layer, stride },
  ];
  const [, second, third] = schemes['4stage'];
  const cases: [string, readonly CompressionStage[] | undefined][] = [
    ['uncompressed', undefined],
    ['heavy: 8 before layer 1', schemes.heavy],
    ['light: 8 before layer 2', schemes.light],
    [`${second.stride} before layer ${second.layer}`, throughout(second)],
    [`${third.stride} before layer ${third.layer}`, throughout(third)],
  ];
  const { clip } = await loadModel(shippedModel('clip'));
  const folder = path.join(dir, 'llava');
  const config = await startLlavaFolder(folder, llavaRecipe, clip!.vision.config);
  return Promise.all(
    cases.map(async ([name, compressor]) => {
      return begin(
        name,
        await createLlavaStage(folder, config, clip!.vision, { ...llavaRecipe, compressor }),
      );
    }),
  );
}

/** All of each frame's tokens through all layers, and a quarter of them through those that have a scorer. */
async function videoStages() {
  const { llava } = await loadModel(shippedModel('video'));
  const folder = path.join(dir, 'video');
  const { vision, text } = llava!.config;
  const config = await startLlavaFolder(folder, { decoder: text }, vision, videoTokenizer());
  return Promise.all(
    [100, videoLlmModRecipe.budget].map(async (budget) => {
      const stage = await createVideoStage(folder, config, llava!, { ...videoLlmModRecipe, budget }, 'bench');
      return begin(budget === 100 ? 'all' : `${budget} % where there is a scorer`, stage);
    }),
  );
}

function begin<W extends object, Batch>(name: string, stage: Stage<W, Batch>) {
  const initial = listTensors(stage.weights);
  const [optimizer, decays] = [startOptimizer(toVector(initial)), decayMask(initial)];
  const step = (round: number) => takeStep(stage, { step: round, optimizer }, decays, 1e-4).optimizer;
  return { name, step, wall: [] as number[], cpu: [] as number[] };
}

/** @returns each case's time, of the first one's */
async function measure(title: string, cases: ReturnType<typeof begin>[]): Promise<number[]> {
  for (let round = 0; round < warm + rounds; round++) {
    for (const { step, wall, cpu } of cases) {
      const [began, used] = [performance.now(), process.cpuUsage()];
      const next = step(round);
      const { user, system } = process.cpuUsage(used);
      const taken = performance.now() - began;
      for (const tensor of Object.values(next)) (tensor as { dispose(): void }).dispose();
      if (round < warm) continue;
      wall.push(taken);
      cpu.push((user + system) / 1000);
    }
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
  const [whole] = cases;
  const share = (of: 'wall' | 'cpu', values: number[]) => median(values.map((x, i) => x / whole[of][i]));
  const rows = cases.map(({ name, wall, cpu }) => [
    name,
    `${median(wall).toFixed(0)} ms`,
    share('wall', wall).toFixed(2),
    `${median(cpu).toFixed(0)} ms`,
    share('cpu', cpu).toFixed(2),
  ]);
  console.log(`${title}: ${rounds} rounds in turns\n`);
  console.log(markdownTable(['compressor', 'a step', 'of the first', 'processor', 'of the first'], rows, 1));
  return cases.map(({ wall }) => share('wall', wall));
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
}
