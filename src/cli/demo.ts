import path from 'node:path';
import type { Command } from 'commander';
import type { LlavaConfig } from '../checkpoint/architecture.ts';
import type { Model } from '../checkpoint/load.ts';
import { cacheBytes, prefillMacs } from '../cost.ts';
import { checkWritable, makeFolder } from '../node/files.ts';
import { encodePng } from '../node/decode.ts';
import { readPicture } from '../node/inputs.ts';
import type { LoadedPicture } from '../inputs.ts';
import { startBackend } from '../backend/start.ts';
import { drawWorld } from '../world/draw.ts';
import { askScene } from '../world/questions.ts';
import { createScene, shownScene } from '../world/scene.ts';
import { formatBytes, formatCount, formatTable } from '../report/format.ts';
import { addBackend, readInteger, type BackendOption } from './options.ts';
import { loadWithBar } from './progress.ts';
import { paintRun, saveHeatmap } from './heatmap.ts';
import { answerQuestion, prepareQuestion, readLlavaConfig, type QuestionResult } from './ask.ts';
import { printSteps } from './walk.ts';
import { shippedModel } from '../node/shipped.ts';

interface DemoFlags extends BackendOption {
  out: string;
  scene: number;
  quiet: boolean;
}

/** How every question is asked. */
const ways = [
  { method: 'none', keep: '100%', title: 'all tokens' },
  { method: 'vtc-cls', keep: '25%', title: 'vtc-cls, 25 %' },
  { method: 'random', keep: '25%', title: 'random, 25 %' },
];
type Way = (typeof ways)[number];

/** A question, its right answer, and what the model said in each way. */
interface Asked {
  question: string;
  answer: string;
  results: QuestionResult[];
}

export function addDemoCommand(program: Command): void {
  const command = program
    .command('demo')
    .description('questions about a drawn scene, answered with all visual tokens and with a quarter of them')
    .option('--out <dir>', 'where scene and heat map are left', 'out/demo')
    .option(
      '--scene <n>',
      'which scene of the test split; the model has seen none of them',
      readInteger(0),
      shownScene,
    )
    .option('--quiet', 'print the answers alone', false);
  addBackend(command).action(demo);
}

async function demo({ backend, out, scene: index, quiet }: DemoFlags): Promise<void> {
  const chosen = await startBackend(backend);
  const [file, heatmap] = ['scene.png', 'heatmap.png'].map((name) => path.join(out, name));
  await makeFolder(out);
  await checkWritable(heatmap);
  const scene = createScene('test', index);
  await encodePng(drawWorld(scene), file);
  if (!quiet) {
    console.log(`backend: ${chosen.name} on ${chosen.device}`);
    console.log(`model:   ${shippedModel()}, which was never trained on pruned pictures`);
    console.log(`scene:   ${file}\n`);
  }

  const config = await readLlavaConfig(shippedModel());
  const picture = await readPicture(file, shippedModel(), config.vision.image_size);
  const model = await loadWithBar(shippedModel());
  const ask = (question: string, way: Way, tells = false) =>
    askModel(model, config, picture, { question, way, tells });
  try {
    const questions = askScene(scene);
    for (const way of ways) await ask(questions[0].question, way); // once unseen, so that the times are of a warm run
    const asked: Asked[] = [];
    for (const { question, answer } of questions) {
      const results: QuestionResult[] = [];
      for (const way of ways) results.push(await ask(question, way));
      asked.push({ question, answer, results });
    }
    console.log(tabulateAnswers(asked));
    const [, vtcCls] = ways;
    if (!quiet) {
      console.log(`\n${tabulateCosts(config, asked)}\n`);
      console.log(`${vtcCls.title}, step by step: ${questions[0].question}`);
    }
    const walked = await ask(questions[0].question, vtcCls, !quiet);
    if (!quiet) await paintRun(config, picture, walked);
    await saveHeatmap(heatmap, config, picture, walked);
  } finally {
    picture.pixels.dispose();
    model.dispose();
  }
  if (quiet) return;
  console.log(`\nheat map: ${heatmap}`);
  console.log('the page, where all of this moves: npm run page builds it, vtc page serves it');
}

async function askModel(
  model: Model,
  config: LlavaConfig,
  picture: LoadedPicture,
  { question, way, tells }: { question: string; way: Way; tells: boolean },
): Promise<QuestionResult> {
  const sampling = { temperature: 0, topK: 0, topP: 1, seed: 0 };
  const flags = { ...sampling, ...way, question, option: [], newTokens: 4, positions: 'contiguous' as const };
  const prepared = await prepareQuestion(shippedModel(), config, flags);
  return answerQuestion(model, picture, prepared, flags, tells ? printSteps(prepared.plan.words) : undefined);
}

/** A row a question, a column a way; ✗ marks an answer that is wrong. */
function tabulateAnswers(asked: Asked[]): string {
  const rows = asked.map(({ question, answer, results }) => [
    question,
    ...results.map(({ text }) => (text === answer ? text : `${text} ✗`)),
  ]);
  return formatTable([['', ...ways.map(({ title }) => title)], ...rows]);
}

/** What each way costs, the mean over the questions. */
function tabulateCosts({ text }: LlavaConfig, asked: Asked[]): string {
  const row = (what: string, cost: (result: QuestionResult) => number, format: (x: number) => string) => {
    const means = ways.map(
      (_, w) => asked.reduce((sum, { results }) => sum + cost(results[w]), 0) / asked.length,
    );
    return [what, ...means.map(format)];
  };
  const time = (steps: RegExp) => (result: QuestionResult) =>
    result.steps.reduce((sum, { name, milliseconds }) => sum + (steps.test(name) ? milliseconds : 0), 0);
  const inMilliseconds = (x: number) => `${x.toFixed(1)} ms`;
  const lengths = ({ answer }: QuestionResult) => answer.prefillLengths;
  const rows = [
    row(
      'prompt tokens',
      ({ answer }) => answer.promptTokens,
      (x) => x.toFixed(0),
    ),
    row('FLOPs to read them', (result) => 2 * prefillMacs(text, lengths(result)), formatCount),
    row('KV cache', (result) => cacheBytes(text, lengths(result)), formatBytes),
    row('seeing and choosing', time(/^(vision|compress)/), inMilliseconds),
    row('reading the prompt', time(/^(projector|decoder)/), inMilliseconds),
    row('answering', time(/^generate/), inMilliseconds),
  ];
  return formatTable([['', ...ways.map(({ title }) => title)], ...rows], [1, 2, 3]);
}
