import path from 'node:path';
import type { Command } from 'commander';
import { createRandom } from '../random.ts';
import { checkWritable, makeFolder } from '../files.ts';
import { encodePng } from '../image/decode.ts';
import { startBackend } from '../tensor/backend.ts';
import { drawScene } from '../world/simple-scene.ts';
import { writeRandomLlava } from '../world/random-llava.ts';
import { addBackend, readInteger, type BackendOption } from './options.ts';
import { readPicture } from '../inputs.ts';
import { loadWithBar } from './progress.ts';
import {
  answerQuestion,
  describeCost,
  prepareQuestion,
  printStep,
  readLlavaConfig,
  saveHeatmap,
} from './run.ts';

interface DemoFlags extends BackendOption {
  out: string;
  seed: number;
}

export function addDemoCommand(program: Command): void {
  const command = program
    .command('demo')
    .description('the whole walk on a drawn scene and a random model, with and without pruning')
    .option('--out <dir>', 'where scene, model and heat map are left', 'out/demo')
    .option('--seed <n>', 'seed of the scene and the weights', readInteger(0), 8);
  addBackend(command).action(demo);
}

async function demo({ backend, out, seed }: DemoFlags): Promise<void> {
  const chosen = await startBackend(backend);
  console.log(`backend: ${chosen.name} on ${chosen.device}`);
  const [scene, modelDir, heatmap] = ['scene.png', 'model', 'heatmap.png'].map((name) =>
    path.join(out, name),
  );
  await makeFolder(modelDir);
  await checkWritable(heatmap);
  await encodePng(await drawScene(createRandom(seed), 192), scene);
  await writeRandomLlava(modelDir, seed);
  console.log(`scene:   ${scene}\nmodel:   ${modelDir}, random weights of seed ${seed}`);

  const config = await readLlavaConfig(modelDir);
  const picture = await readPicture(scene, modelDir, config.vision.image_size, false);
  const model = await loadWithBar(modelDir);
  try {
    const question = 'What is in the picture?';
    const common = {
      question,
      newTokens: 12,
      temperature: 0,
      topK: 0,
      topP: 1,
      seed,
      positions: 'contiguous',
    } as const;
    console.log(`asking:  ${question}`);
    for (const [method, keep] of [
      ['none', '100%'],
      ['vtc-cls', '25%'],
    ]) {
      const flags = { ...common, option: [], method, keep };
      const asked = await prepareQuestion(modelDir, config, flags);
      await answerQuestion(model, picture, asked, flags); // once unseen, so that the times below are of a warm run
      console.log(`\n${method}, keeping ${keep} of the visual tokens`);
      const result = await answerQuestion(model, picture, asked, flags, printStep);
      console.log(`  ${describeCost(config, result.answer)}\n  answer: ${result.text}`);
      if (result.answer.scores) await saveHeatmap(heatmap, config, picture, result.answer);
    }
  } finally {
    picture.pixels.dispose();
    model.dispose();
  }
  console.log(`\nheat map: ${heatmap}`);
  console.log(
    'The answers are noise, because the weights are random; every step that leads to them is real.',
  );
}
