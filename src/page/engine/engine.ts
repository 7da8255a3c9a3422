/**
 * What the page asks of the model: look at a picture once, then answer under any method as often as the visitor likes. All
 * numbers are what the rooms of this project compute; here they only leave the tensors. Runs in a worker, and in Node.
 */
import type * as tf from '@tensorflow/tfjs-core';
import { joinClip, loadModel, type Llava, type LoadProgress } from '../../checkpoint/load.ts';
import type { Method, TowerNeeds } from '../../compress/method.ts';
import { descending } from '../../compress/host.ts';
import { methods } from '../../compress/registry.ts';
import { followPatches } from '../../eval/run/follow.ts';
import { joinNeeds, showOnly } from '../../eval/run/needs.ts';
import { parseVariants } from '../../eval/run/variant.ts';
import { UserError } from '../../errors.ts';
import type { Folder } from '../../folder.ts';
import type { Picture } from '../../image/picture.ts';
import { readPreprocessConfig } from '../../image/preprocess.ts';
import { showPixels } from '../../image/show.ts';
import { readAsker, takePicture, type Asker } from '../../inputs.ts';
import { prepareAnswer, readsQuestion, type Plan } from '../../plan.ts';
import { choose, reply, see, type SeenPictures } from '../../story.ts';
import { free, scope } from '../../tensor/scope.ts';
import { picking } from '../../tensor/token-matrix.ts';
import { createTrace, type RecordedTrace } from '../../tensor/trace.ts';
import { gridSide, patchCount } from '../../vision/config.ts';
import { explainCell, type Cell } from './cell.ts';
import { readMaps, type Maps } from './maps.ts';
import { lastLogs, readInside, type Inside } from './inside.ts';

/** By what the patches are chosen: a method in the form of `--methods` with U, or somebody's own hand. */
export type How = { method: string; budget: number } | { patches: readonly number[] };

/** What never changes while the page is open. */
export interface Facts {
  grid: number;
  patches: number;
  /** Of the tower that LLaVA runs: the selected layer is the last. */
  visionLayers: number;
  visionHeads: number;
  decoderLayers: number;
  /** Every token's text, by id. */
  vocabulary: string[];
  methods: { name: string; summary: string; paper: string; readsQuestion: boolean }[];
  config: Llava['config'];
}

/** A picture's patches after one of the places where a method acts. */
export interface Stop {
  /** Of the trace: `compress.matrix`, `decoder.matrix.02`. */
  place: string;
  kept: number[];
  /** For each patch the token that it is the largest part of, −1 for none. */
  groups: number[];
  made: number;
}

/** What came of a question under a method. */
export interface Told {
  /** The whole answer; of a hurried question its first word. */
  answer: string;
  /** log P of each token to be the first of the answer, [V]. */
  logs: number[];
  /** After each place where tokens became fewer, the last one last. */
  stops: Stop[];
  /** What the method ranked the patches by, where it did, and the patches by it, the best first. */
  scores?: number[];
  order?: number[];
  /** Tokens in each decoder layer's cache after the prompt. */
  layerTokens: number[];
  promptTokens: number;
  /** Of choosing, and of reading and answering. */
  milliseconds: number;
}

/** A question under a method that is not possible, and why. */
export type Refusal = { refused: string };

/** See {@link openEngine}. */
export interface Engine {
  facts: Facts;
  /** The tower looks, for all that is asked afterwards. @returns its maps, the picture as it saw it, and how long it took */
  look(picture: Picture): Promise<Maps & { shown: Picture; milliseconds: number }>;
  /** @param hurried only the answer's first word */
  ask(question: string, how: How, hurried?: boolean): Promise<Told | Refusal>;
  /** The same question, watched from inside. */
  inside(question: string, how: How): Promise<Inside | Refusal>;
  /** How a head's attention of [CLS] to one patch came to be. */
  explain(layer: number, head: number, patch: number): Promise<Cell>;
  /** Methods that read the question have it read by CLIP's text tower. */
  addClip(folder: Folder): Promise<void>;
  /** Words that are none of the vocabulary's. */
  unknownWords(question: string): string[];
  dispose(): void;
}

/** The answers of the drawn world are one word; a model that goes on is stopped. */
const maxNewTokens = 4;

/**
 * Loads a LLaVA to be asked.
 * @throws UserError for a folder that is none
 */
export async function openEngine(folder: Folder, onProgress?: LoadProgress): Promise<Engine> {
  const model = await loadModel(folder, onProgress);
  if (!model.llava) throw new UserError(`${folder.name} is no LLaVA`);
  let { llava } = model;
  let asker = await readAsker(folder, llava.config);
  let text: { dispose(): void } | undefined;
  const { vision, text: decoder } = llava.config;
  const preprocessing = await readPreprocessConfig(folder, vision.image_size);
  const layers = llava.config.vision_feature_layer[0];
  const needs = joinNeeds([
    {
      clsAttention: [...Array(layers).keys()],
      attention: [...Array(layers).keys()],
      keys: [...Array(layers).keys()],
      hidden: [...Array(layers + 1).keys()],
    },
  ]);
  let pixels: tf.Tensor4D | undefined;
  let seen: SeenPictures | undefined;
  const forget = () => {
    pixels?.dispose();
    free(seen);
    pixels = seen = undefined;
  };
  const sight = () => {
    if (!seen || !pixels) throw new UserError('no picture has been shown yet');
    return { seen, pixels };
  };

  /** Who else answers meanwhile would take the model's tensors away: one after another. */
  let last: Promise<unknown> = Promise.resolve();
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const turn = last.then(work, work);
    last = turn.catch(() => undefined);
    return turn;
  };

  /** Method, picture and words to an answer, as story.ts's `answer`, with the tower's work done already. */
  async function run(question: string, how: How, trace: RecordedTrace, newTokens = maxNewTokens) {
    using own = scope();
    const { prompt, plan } = prepareFor(llava, asker, question, how, newTokens);
    const { seen, pixels } = sight();
    const begun = performance.now();
    const alone = plan.inTower !== undefined || !covers(needs, plan.needs); // ToMe; PruMerge, by the tower's last layer
    const shown = alone ? own(await see(llava, pixels, plan, trace)) : showOnly(seen, plan.needs);
    const picture = own(await choose(llava, shown, plan, trace));
    const decoding = { maxNewTokens: newTokens, stopTokens: model.stopTokens, trace: muteTokens(trace) };
    const answered = await reply(llava, picture, [prompt], plan, decoding);
    return { ...answered, prompt, plan, scores: picture.scores, milliseconds: performance.now() - begun };
  } // prettier-ignore

  /** What cannot be is told, not thrown. */
  const orRefusal = async <T>(work: () => Promise<T>): Promise<T | Refusal> => {
    try {
      return await work();
    } catch (error) {
      if (error instanceof UserError) return { refused: error.message };
      throw error;
    }
  };

  return {
    facts: {
      grid: gridSide(vision),
      patches: patchCount(vision),
      visionLayers: layers,
      visionHeads: vision.num_attention_heads,
      decoderLayers: decoder.num_hidden_layers,
      vocabulary: Array.from({ length: decoder.vocab_size }, (_, id) => asker.tokenizer.tokenOf(id) ?? ''),
      methods: methods.map((method) => ({
        name: method.name,
        summary: method.summary,
        paper: method.paper,
        readsQuestion: readsQuestion(method),
      })),
      config: llava.config,
    },
    look: (picture) =>
      inTurn(async () => {
        const begun = performance.now();
        const { pixels: taken, values } = takePicture(picture, preprocessing, vision.image_size);
        let made: SeenPictures;
        try {
          made = await see(llava, taken, { needs });
        } catch (error) {
          taken.dispose();
          throw error;
        }
        forget();
        [pixels, seen] = [taken, made];
        seen.features.F(); // whole: every method will take its part
        const maps = await readMaps(seen, layers);
        const milliseconds = performance.now() - begun;
        return { ...maps, shown: showPixels(values, vision.image_size, preprocessing), milliseconds };
      }),
    ask: (question, how, hurried = false) =>
      inTurn(() =>
        orRefusal(async () => {
          using own = scope();
          const trace = own(createTrace((name) => name === 'decoder.logits'));
          const ran = await run(question, how, trace, hurried ? 1 : maxNewTokens);
          return {
            answer: asker.tokenizer.decode(ran.tokens[0]).trim(),
            logs: [...(await lastLogs(trace))],
            stops: stopsOf(trace, ran.plan),
            scores: ran.scores && [...ran.scores[0]],
            order: ran.scores && descending(ran.scores[0]),
            layerTokens: ran.prefillLengths,
            promptTokens: ran.promptTokens,
            milliseconds: ran.milliseconds,
          };
        }),
      ),
    inside: (question, how) =>
      inTurn(() =>
        orRefusal(async () => {
          using own = scope();
          const watched = ['decoder.attention.LL', 'decoder.hidden.LL', 'decoder.logits', 'projector.output', 'compress.features']; // prettier-ignore
          const trace = own(createTrace((name) => watched.includes(name)));
          const { prompt } = await run(question, how, trace, 1);
          return await readInside(llava.decoder, trace, prompt);
        }),
      ),
    explain: (layer, head, patch) =>
      inTurn(() => explainCell(llava.vision, sight().seen.hidden.get(layer)!, { layer, head, patch })),
    addClip: (clipFolder) =>
      inTurn(async () => {
        if (text) return;
        const loaded = await loadModel(clipFolder);
        try {
          if (!loaded.clip) throw new UserError(`${clipFolder.name} is no CLIP with its text tower`);
          const joined = await joinClip(llava, loaded.clip, clipFolder.name);
          asker = await readAsker(folder, llava.config, { clip: clipFolder });
          [llava, text] = [joined, loaded];
        } catch (error) {
          loaded.dispose();
          throw error;
        }
      }),
    unknownWords: (question) => {
      const { tokenizer } = asker;
      const unknown = tokenizer.encodePlain('\u0000')[0]; // of a word that nobody says
      return question.split(/\s+/).filter((word) => tokenizer.encodePlain(word).includes(unknown));
    },
    dispose: () => {
      forget();
      text?.dispose();
      model.dispose();
    },
  };
}

/** Whether what is needed was seen. */
const covers = (seen: Required<TowerNeeds>, needs: TowerNeeds): boolean =>
  (Object.keys(seen) as (keyof TowerNeeds)[]).every((part) =>
    (needs[part] ?? []).every((layer) => seen[part].includes(layer)),
  );

/** A method's plan for a question, everything that can be refused refused. */
function prepareFor(llava: Llava, asker: Asker, question: string, how: How, newTokens: number) {
  const prompt = asker.ask(question);
  const chosen =
    'patches' in how
      ? { method: byHand(how.patches), methodOptions: {}, budget: how.patches.length }
      : { ...parseVariants(how.method)[0], budget: how.budget };
  const plan = prepareAnswer(llava.config, chosen, [prompt], { maxNewTokens: newTokens }, [0]);
  return { prompt, plan };
}

/** The patches that somebody has painted. */
const byHand = (patches: readonly number[]): Method => ({
  name: 'by hand',
  paper: '',
  summary: 'keeps the patches that were painted',
  stages: ['before'],
  defaults: {},
  help: {},
  prepare: ({ patches: P }) => ({ choose: () => ({ W: picking([patches], P) }) }),
});

/** A trace that is not told of the tokens, which come in any number. */
const muteTokens = (trace: RecordedTrace): RecordedTrace => ({
  ...trace,
  record: (name, made, layer) => {
    if (name !== 'generate.tokens') trace.record(name, made, layer);
  },
});

/** Where the patches were after each W: their product so far. */
function stopsOf({ matrices }: RecordedTrace, { keepsCls }: Plan): Stop[] {
  const all = [...matrices];
  return all.map(([place], i) => {
    const [{ kept, groups, made }] = followPatches(
      all.slice(0, i + 1).map(([, W]) => W),
      keepsCls,
    );
    return { place, kept, groups, made };
  });
}
