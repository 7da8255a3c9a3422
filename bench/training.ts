/**
 * What LLaVolta's stages save of training: steps of the LLaVA stage with and without its compressor, in turns, all of the same
 * batches and weights.
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
import { llavaRecipe } from '../src/train/recipe.ts';
import { takeStep } from '../src/train/train.ts';

const rounds = Number(process.argv[2] ?? 12);
const warm = 2;

/** Each stage alone, from the first step to the last. */
const throughout = ({ layer, stride }: CompressionStage): CompressionStage[] => [
  { until: Infinity, layer, stride },
];
const cases: [string, readonly CompressionStage[] | undefined][] = [
  ['uncompressed', undefined],
  ['heavy: 8 before layer 1', schemes.heavy],
  ['light: 8 before layer 2', schemes.light],
  ...schemes['4stage']
    .slice(1)
    .map((stage): [string, CompressionStage[]] => [
      `${stage.stride} before layer ${stage.layer}`,
      throughout(stage),
    ]),
];

await startBackend('tensorflow');
registerGradients();
const model = await loadModel(shippedModel('clip'));
const { clip } = model;
const dir = await mkdtemp(path.join(tmpdir(), 'vtc-cls-training-'));
try {
  const config = await startLlavaFolder(dir, llavaRecipe, clip!.vision.config);
  const begin = async ([name, compressor]: (typeof cases)[number]) => {
    const stage = await createLlavaStage(dir, config, clip!.vision, { ...llavaRecipe, compressor });
    const initial = listTensors(stage.weights);
    const [optimizer, decays] = [startOptimizer(toVector(initial)), decayMask(initial)];
    return { name, stage, optimizer, decays, wall: [] as number[], cpu: [] as number[] };
  };
  const stages = await Promise.all(cases.map(begin));
  for (let round = 0; round < warm + rounds; round++) {
    for (const { stage, optimizer, decays, wall, cpu } of stages) {
      const [began, used] = [performance.now(), process.cpuUsage()];
      const next = takeStep(stage, { step: round, optimizer }, decays, 1e-4).optimizer;
      const { user, system } = process.cpuUsage(used);
      for (const tensor of Object.values(next)) (tensor as { dispose(): void }).dispose();
      if (round < warm) continue;
      wall.push(performance.now() - began);
      cpu.push((user + system) / 1000);
    }
  }
  const [whole] = stages;
  const ratios = (of: 'wall' | 'cpu', values: number[]) => median(values.map((x, i) => x / whole[of][i]));
  const rows = stages.map(({ name, wall, cpu }) => [
    name,
    `${median(wall).toFixed(0)} ms`,
    ratios('wall', wall).toFixed(2),
    `${median(cpu).toFixed(0)} ms`,
    ratios('cpu', cpu).toFixed(2),
  ]);
  console.log(
    markdownTable(['compressor', 'a step', 'of uncompressed', 'processor', 'of uncompressed'], rows, 1),
  );
  const share = (name: number) => ratios('wall', stages[name].wall);
  const four = (share(1) + share(3) + share(4) + 1) / 4;
  console.log(
    `\n4stage, a quarter of the steps each: ${four.toFixed(2)} of the time; ${rounds} rounds in turns`,
  );
} finally {
  await rm(dir, { recursive: true });
  model.dispose();
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
}
