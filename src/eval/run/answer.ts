/** Asks a model every question of a task, under one method and budget. */
import * as tf from '@tensorflow/tfjs-core';
import type { Llava } from '../../checkpoint/load.ts';
import type { CompressedPictures } from '../../compress/compress.ts';
import { cacheBytes } from '../../cost.ts';
import type { DecoderConfig } from '../../decoder/config.ts';
import { prepare, resourcesOf, readsQuestion } from '../../plan.ts';
import { choose, reply, type SeenPictures } from '../../story.ts';
import { scope } from '../../tensor/scope.ts';
import { matrixOf } from '../../tensor/token-matrix.ts';
import { watchSteps, type Trace } from '../../tensor/trace.ts';
import { textOf, type ImagePrompt } from '../../text/prompt.ts';
import { writeAnswer } from '../../text/spoken-numbers.ts';
import type { Tokenizer } from '../../text/tokenizer.ts';
import type { Album } from './album.ts';
import { isUncut, type Cell, type CellRecord, type Provenance } from './cell.ts';
import { costOf, joinPrompts, type PromptCount, type Times } from './costs.ts';
import { fillBlank } from './fill.ts';
import { chooseAmong, divergence, likeliest, logSoftmax, type FirstToken } from './first.ts';
import { followPatches } from './follow.ts';
import { showOnly } from './needs.ts';
import { countKept, findSinks, noneKept } from './kept.ts';
import { patchCount } from '../../vision/config.ts';
import type { Task } from '../task/task.ts';

/** What is asked, and of whom. */
export interface Exam {
  model: Llava;
  /** Tokens that end an answer. */
  stopTokens: readonly number[];
  tokenizer: Pick<Tokenizer, 'decode' | 'encodePlain'>;
  task: Task;
  /** One for each of the task's questions. */
  prompts: readonly ImagePrompt[];
  maxNewTokens: number;
}

export interface AnswerOptions {
  /** What the uncut model would say first, in the order of the album's questions. */
  uncut?: readonly FirstToken[];
  /** One question at a time. */
  single?: boolean;
  /** B [1, P, D], to fill dropped places with; see fill.ts. */
  blank?: tf.Tensor3D;
  /** Called with the number of questions answered since the last call. */
  onQuestions?: (count: number) => void;
}

/** What is left of a cell; and of the uncut one, what it would say first: that is kept for the others. */
export type Answered = { record: Omit<CellRecord, keyof Cell | Provenance>; firsts?: FirstToken[] };

/** What is known of one question. */
interface Reply {
  answer: string;
  first?: FirstToken;
  kl?: number;
  /** Where the question has choices that its first token tells apart. */
  restricted?: string;
}

/** At most so many questions in one batch, and so many bytes of their keys and values. */
const batchLimits = { questions: 64, cacheBytes: 2 ** 31 };

/** How many questions a batch may have. @param tokens of each, prompt and answer */
export function mostTogether(config: DecoderConfig, tokens: number): number {
  const each = cacheBytes(config, new Array<number>(config.num_hidden_layers).fill(tokens));
  return Math.min(batchLimits.questions, Math.max(1, Math.floor(batchLimits.cacheBytes / each)));
}

/**
 * The tower's work is done once for all methods (see album.ts), a method's once for all questions about a picture.
 * Asked are the questions about the album's pictures, batched across pictures, those together whose prompts have as many tokens.
 */
export async function answerCell(
  { model, stopTokens, tokenizer, task, prompts, maxNewTokens }: Exam,
  cell: Cell,
  album: Album,
  { uncut, blank, single = false, onQuestions }: AnswerOptions = {},
): Promise<Answered> {
  const { variant, budget } = cell;
  const started = performance.now();
  const milliseconds: Times = { see: 0, prefill: 0, decode: 0 };
  const planFor = (asking: readonly ImagePrompt[], pictures: readonly number[]) =>
    prepare(model.config, { ...variant, budget }, resourcesOf(asking, pictures));
  const { needs, inTower, keepsCls } = planFor(prompts.slice(0, 1), [0]);
  const replies = new Map<number, Reply>(); // by question
  let seen = 0; // pictures on the clock: those of one chunk
  const read: PromptCount[] = [];
  const kept = inTower ? undefined : noneKept(patchCount(model.config.vision));
  const asked = questionsByPicture(task);
  const order = album.chunks
    .flat()
    .flatMap((picture) => asked[picture])
    .sort((a, b) => a - b);
  const placeOf = new Map(order.map((question, place) => [question, place]));
  const reads = readsQuestion(variant.method);
  const begins = beginnings(tokenizer);

  for (const [chunk, pictures] of album.chunks.entries()) {
    const questions = pictures.flatMap((picture) => asked[picture]);
    if (questions.length === 0) continue;
    const ask = async (shown: SeenPictures) => {
      // A method that reads the question chooses anew for each: the first of every picture, the second …
      const rounds = reads ? Math.max(...pictures.map((picture) => asked[picture].length)) : 1;
      const rowOf = (question: number): number => {
        const { picture } = task.questions[question];
        const round = reads ? asked[picture].indexOf(question) : 0;
        return round * pictures.length + picture - pictures[0];
      };
      using own = scope();
      const sinks = kept && (await findSinks(shown.features.F()));
      const compressed = own(
        await compressRounds(rounds, async (round) => {
          // Where a picture has no further question, any will do: nothing is asked about that choice.
          const ofRound = pictures.map((picture) => prompts[asked[picture][round] ?? questions[0]]);
          const chosen = await choose(model, showOnly(shown, needs), planFor(ofRound, pictures));
          if (!blank) return chosen;
          using own = scope();
          return { W: chosen.W, tokens: fillBlank(own(chosen), blank) };
        }),
      );
      const longest = Math.max(...questions.map((question) => textOf(prompts[question]).length));
      const tokens = longest + compressed.tokens.shape[1] + maxNewTokens;
      const most = single ? 1 : mostTogether(model.config.text, tokens);
      for (const batch of batchByLength(questions, prompts, most)) {
        using own = scope();
        const picture = own(takeRows(compressed, batch.map(rowOf)));
        const asking = batch.map((question) => prompts[question]);
        const watch = own(watchReply(milliseconds));
        const plan = planFor(
          asking,
          batch.map((question) => task.questions[question].picture),
        );
        const options = { maxNewTokens, stopTokens, trace: watch.trace };
        const { tokens, numbers, prefillLengths } = await reply(model, picture, asking, plan, options);
        const logits = await watch.firstLogits();
        const fates = kept && followPatches([picture.W, ...watch.matrices], keepsCls);
        for (const [i, question] of batch.entries()) {
          const { choices = [], picture } = task.questions[question];
          const logs = logSoftmax(logits[i]);
          const choice = chooseAmong(choices.map(begins), logs);
          replies.set(question, {
            answer: writeAnswer(
              tokenizer,
              tokens[i],
              plan.output && { id: plan.output.id, numbers: numbers![i] },
            ),
            first: isUncut(cell) ? likeliest(logs) : undefined,
            kl: uncut && divergence(uncut[placeOf.get(question)!], logs),
            restricted: choice === undefined ? undefined : choices[choice],
          });
          if (kept) countKept(kept, fates![i].kept, sinks![picture - pictures[0]]);
        }
        read.push({ layers: prefillLengths, questions: batch.length });
        onQuestions?.(batch.length);
      }
    };
    await album.lend(chunk, ask, inTower);
    if (seen > 0) continue;
    const ofEach = pictures.map((picture) => prompts[asked[picture][0] ?? questions[0]]);
    const looked = await album.look(chunk, needs, inTower);
    using own = scope();
    const shown = own(looked.seen);
    const begun = performance.now();
    own(await choose(model, shown, planFor(ofEach, pictures)));
    milliseconds.see = looked.milliseconds + performance.now() - begun;
    seen = pictures.length;
  }
  const inOrder = order.map((question) => replies.get(question)!);
  const counted = joinPrompts(read);
  return {
    firsts: isUncut(cell) ? inOrder.map(({ first }) => first!) : undefined,
    record: {
      answers: inOrder.map(({ answer }) => answer),
      restricted: inOrder.map(({ restricted }) => restricted ?? ''),
      kl: uncut && inOrder.map(({ kl }) => kl!),
      kept,
      prompts: counted,
      ...costOf(model.config.text, counted),
      milliseconds,
      seen,
      seconds: (performance.now() - started) / 1000,
    },
  };
}

/** The tokens that a word may begin with, as it is and with a capital. */
function beginnings({ encodePlain }: Pick<Tokenizer, 'encodePlain'>): (word: string) => number[] {
  const known = new Map<string, number[]>();
  return (word) => {
    const found = known.get(word);
    if (found) return found;
    const capital = word.charAt(0).toUpperCase() + word.slice(1);
    const tokens = [...new Set([word, capital].map((text) => encodePlain(text)[0]))];
    known.set(word, tokens);
    return tokens;
  };
}

/** Watches one reply: its times, what the prompt's last logits were, and what became of the picture's tokens. */
function watchReply(milliseconds: Times) {
  const steps = watchSteps(({ name, milliseconds: time }) => {
    if (name.startsWith('decoder.')) milliseconds.prefill += time;
    if (name.startsWith('generate.')) milliseconds.decode += time;
  });
  let logits: tf.Tensor | undefined; // [B, 1, V]
  const trace: Trace = {
    wants: () => false,
    record(name, made, layer) {
      steps.record(name, made, layer);
      if (name === 'decoder.logits') logits = tf.keep(tf.clone(made as tf.Tensor));
    },
  };
  return {
    trace,
    get matrices() {
      return [...steps.matrices.values()];
    },
    async firstLogits(): Promise<Float32Array[]> {
      const [B, , V] = logits!.shape;
      const values = (await logits!.data()) as Float32Array;
      return Array.from({ length: B }, (_, b) => values.subarray(b * V, (b + 1) * V));
    },
    dispose: () => logits?.dispose(),
  };
}

/** Pictures as the decoder's part takes them. */
type Shown = Pick<CompressedPictures, 'tokens' | 'places' | 'W'>;

/** What a method makes of the pictures in several rounds, the rounds one after the other in one batch. */
async function compressRounds(rounds: number, compress: (round: number) => Promise<Shown>): Promise<Shown> {
  using own = scope();
  const made: Shown[] = [];
  for (let round = 0; round < rounds; round++) made.push(own(await compress(round)));
  const places = made.flatMap((pictures) => pictures.places?.places ?? []);
  return {
    tokens: tf.concat(
      made.map(({ tokens }) => tokens),
      0,
    ),
    places: made[0].places && { ...made[0].places, places },
    W: matrixOf(
      made.flatMap(({ W }) => W.rows),
      made[0].W.columns,
    ),
  };
}

/** For each picture the questions about it, indices. */
function questionsByPicture({ pictures, questions }: Task): number[][] {
  const asked = pictures.map((): number[] => []);
  for (const [i, { picture }] of questions.entries()) asked[picture].push(i);
  return asked;
}

/** Questions of equal prompt length together, in batches of nearly equal size. */
function batchByLength(
  questions: readonly number[],
  prompts: readonly ImagePrompt[],
  most: number,
): number[][] {
  const byLength = new Map<number, number[]>();
  for (const question of questions) {
    const length = prompts[question].before.length + prompts[question].after.length;
    const group = byLength.get(length);
    if (group) group.push(question);
    else byLength.set(length, [question]);
  }
  return [...byLength.values()].flatMap((group) => {
    const batches = Math.ceil(group.length / most);
    const size = Math.ceil(group.length / batches);
    return Array.from({ length: batches }, (_, i) => group.slice(i * size, (i + 1) * size));
  });
}

/** The pictures of a batch of questions, one for each. The caller disposes its tokens. */
const takeRows = ({ tokens, places, W }: Shown, rows: number[]): Shown => ({
  tokens: tf.tidy(() => tf.gather(tokens, tf.tensor1d(rows, 'int32'))),
  places: places && { ...places, places: rows.map((row) => places.places[row]) },
  W: matrixOf(
    rows.map((row) => W.rows[row]),
    W.columns,
  ),
});
