/** Node's own prompt, with a model, a scene and a method at hand. */
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { start, type REPLServer } from 'node:repl';
import { PassThrough } from 'node:stream';
import type { Command } from 'commander';
import * as api from '../node.ts';
import { startBackend } from '../backend/start.ts';
import type { LlavaConfig } from '../checkpoint/architecture.ts';
import type { Model } from '../checkpoint/load.ts';
import { UserError } from '../errors.ts';
import { takePicture, type LoadedPicture } from '../inputs.ts';
import { readPreprocessConfig } from '../node/checkpoint.ts';
import { shippedModel } from '../node/shipped.ts';
import { drawWorld } from '../world/draw.ts';
import { askScene } from '../world/questions.ts';
import { createScene, shownScene } from '../world/scene.ts';
import { paintPanels, paintRun } from './heatmap.ts';
import { addLoading, type LoadFlags } from './options.ts';
import { loadWithBar } from './progress.ts';
import { answerQuestion, prepareQuestion, readLlavaConfig } from './ask.ts';
import { printSteps } from './walk.ts';

interface ReplFlags extends LoadFlags {
  model: string;
}

export function addReplCommand(program: Command): void {
  const command = program
    .command('repl')
    .description('a prompt with tf, a model, scene(), method(), ask() and show(), to try things in')
    .option('--model <dir>', 'a Hugging Face folder of type LLaVA, or org/name in its cache', shippedModel());
  addLoading(command).action(run);
}

const help = `tf          TensorFlow.js; all that vtc-cls/node exports is here by its name too
model       { config, vision, projector, decoder }, as the functions take it
scene(n)    takes scene n of the test split, and gives its questions
method(name, { keep: '25%', layers: 3 })
            takes a compression method
ask(question)
            answers it, each step told; the answer, scores, kept patches …
show(x)     the picture; x over it: P values, a tensor of them, or the patches that stay
pixels()    the picture as the tower takes it, [1, S, S, 3]
`;

async function run(flags: ReplFlags): Promise<void> {
  const { name } = await startBackend(flags.backend);
  const config = await readLlavaConfig(flags.model);
  const preprocessing = await readPreprocessConfig(flags.model, config.vision.image_size);
  const model = await loadWithBar(flags.model, { weightsAs: flags.weightsAs });
  try {
    console.log(`${flags.model} on ${name}\n\n${help}`);
    const server = openPrompt();
    const bench = setUp(flags.model, model, config, preprocessing);
    bench.scene();
    Object.assign(server.context, api, { model: model.llava, config }, bench);
    await once(server, 'exit');
  } finally {
    model.dispose();
  }
}

/** Lines from a pipe are given one at a time: Node's prompt would not wait for what a line awaits. */
function openPrompt(): REPLServer {
  if (process.stdin.isTTY) return start({ prompt: 'vtc> ' });
  const input = new PassThrough();
  const server = start({ prompt: 'vtc> ', input, output: process.stdout, terminal: false });
  const lines = createInterface(process.stdin)[Symbol.asyncIterator]();
  const feed = () =>
    void lines.next().then(({ value, done }) => (done ? input.end() : input.write(`${value}\n`)));
  const display = server.displayPrompt.bind(server);
  server.displayPrompt = (preserveCursor) => {
    display(preserveCursor);
    feed();
  };
  feed();
  return server;
}

/** What the prompt's own words do, on the picture and the method taken last. */
function setUp(dir: string, model: Model, config: LlavaConfig, preprocessing: api.PreprocessConfig) {
  let picture: LoadedPicture | undefined;
  let chosen = { method: 'vtc-cls', keep: '25%', option: [] as string[] };
  const taken = (): LoadedPicture => picture!; // run takes the shown scene first

  return {
    scene(n = shownScene) {
      if (!Number.isSafeInteger(n) || n < 0) throw asLine(new UserError(`scene(${n}): should be 0 or more`));
      const scene = createScene('test', n);
      picture?.pixels.dispose();
      picture = takePicture(drawWorld(scene), preprocessing, config.vision.image_size);
      return askScene(scene).map(({ question, answer }) => ({ question, answer }));
    },
    method(name: string, { keep = '25%', ...options }: Record<string, string | number> = {}) {
      const option = Object.entries(options).map((pair) => pair.join('='));
      chosen = { method: name, keep: String(keep), option };
    },
    async ask(question: string) {
      const sampling = { temperature: 0, topK: 0, topP: 1, seed: 0 };
      const flags = { ...sampling, ...chosen, question, newTokens: 16, positions: 'contiguous' as const };
      try {
        const prepared = await prepareQuestion(dir, config, flags);
        const result = await answerQuestion(model, taken(), prepared, flags, printSteps(prepared.plan.words));
        await paintRun(config, taken(), result);
        const { kept, scores, promptTokens } = result.answer;
        return { answer: result.text, kept: kept?.[0], scores: scores?.[0], promptTokens };
      } catch (error) {
        throw asLine(error);
      }
    },
    async show(what?: api.tf.Tensor | ArrayLike<number>) {
      const P = api.patchCount(config.vision);
      const values = what && Array.from('dataSync' in what ? await what.data() : what);
      const whole = values?.length === P;
      const places = values?.every((p) => Number.isInteger(p) && p >= 0 && p < P);
      if (values && !whole && !places) {
        const why = `${values.length} numbers are neither one for each of ${P} patches nor places among them`;
        throw asLine(new UserError(`show: ${why}`));
      }
      await paintPanels(config, taken(), [{}, ...(values ? [whole ? { values } : { kept: values }] : [])]);
    },
    pixels: () => taken().pixels,
  };
}

/** A user's mistake without the places in our code that found it. */
function asLine(error: unknown): unknown {
  if (error instanceof UserError) error.stack = `error: ${error.message}`;
  return error;
}
