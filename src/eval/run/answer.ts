/** Asks a model every question of a task, under one method and budget. */
import * as tf from '@tensorflow/tfjs-core';
import type { Llava } from '../../checkpoint/load.ts';
import type { CompressedPictures } from '../../compress/compress.ts';
import type { TowerNeeds } from '../../compress/method.ts';
import { prepare, resourcesOf, readsQuestion } from '../../plan.ts';
import { choose, reply, type SeenPictures } from '../../story.ts';
import { scope } from '../../tensor/scope.ts';
import { watchSteps } from '../../tensor/trace.ts';
import type { ImagePrompt } from '../../text/prompt.ts';
import type { Tokenizer } from '../../text/tokenizer.ts';
import type { Album } from './album.ts';
import type { Cell, CellRecord, Provenance } from './cell.ts';
import { costOf, joinPrompts, type PromptCount, type Times } from './costs.ts';
import type { Task } from '../task/task.ts';

/** What is asked, and of whom. */
export interface Exam {
  model: Llava;
  /** Tokens that end an answer. */
  stopTokens: readonly number[];
  tokenizer: Pick<Tokenizer, 'decode'>;
  task: Task;
  /** One for each of the task's questions. */
  prompts: readonly ImagePrompt[];
  maxNewTokens: number;
}

/** At most so many questions in one batch. */
const batchSize = 64;

/**
 * The tower's work is done once for all methods (see album.ts), a method's once for all questions about a picture.
 * Asked are the questions about the album's pictures, batched across pictures, those together whose prompts have as many tokens.
 * @param onQuestions called with the number of questions answered since the last call
 */
export async function answerCell(
  { model, stopTokens, tokenizer, task, prompts, maxNewTokens }: Exam,
  { variant, budget }: Cell,
  album: Album,
  onQuestions?: (count: number) => void,
): Promise<Omit<CellRecord, keyof Cell | Provenance>> {
  const started = performance.now();
  const milliseconds: Times = { see: 0, prefill: 0, decode: 0 };
  const watch = () =>
    watchSteps(({ name, milliseconds: time }) => {
      if (name.startsWith('decoder.')) milliseconds.prefill += time;
      if (name.startsWith('generate.')) milliseconds.decode += time;
    });
  const planFor = (asking: readonly ImagePrompt[]) =>
    prepare(model.config, { ...variant, budget }, resourcesOf(asking));
  const { needs, inTower } = planFor(prompts.slice(0, 1));
  const answers = new Map<number, string>(); // by question
  let seen = 0; // pictures on the clock: those of one chunk
  const read: PromptCount[] = [];
  const asked = questionsByPicture(task);
  const reads = readsQuestion(variant.method);

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
      const compressed = own(
        await compressRounds(rounds, (round) => {
          // Where a picture has no further question, any will do: nothing is asked about that choice.
          const ofRound = pictures.map((picture) => prompts[asked[picture][round] ?? questions[0]]);
          return choose(model, showOnly(shown, needs), planFor(ofRound));
        }),
      );
      for (const batch of batchByLength(questions, prompts)) {
        using own = scope();
        const picture = own(takeRows(compressed, batch.map(rowOf)));
        const asking = batch.map((question) => prompts[question]);
        const options = { maxNewTokens, stopTokens, trace: watch() };
        const { tokens, prefillLengths } = await reply(model, picture, asking, planFor(asking), options);
        for (const [i, question] of batch.entries())
          answers.set(question, tokenizer.decode(tokens[i]).trim());
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
    own(await choose(model, shown, planFor(ofEach)));
    milliseconds.see = looked.milliseconds + performance.now() - begun;
    seen = pictures.length;
  }
  const seconds = (performance.now() - started) / 1000;
  const inOrder = [...answers.keys()].sort((a, b) => a - b).map((question) => answers.get(question)!);
  const counted = joinPrompts(read);
  const costs = costOf(model.config.text, counted);
  return { answers: inOrder, prompts: counted, ...costs, milliseconds, seen, seconds };
}

/** Pictures as the decoder's part takes them. */
type Shown = Pick<CompressedPictures, 'tokens' | 'places'>;

/** What a method makes of the pictures in several rounds, the rounds one after the other in one batch. */
async function compressRounds(
  rounds: number,
  compress: (round: number) => Promise<CompressedPictures>,
): Promise<Shown> {
  using own = scope();
  const made: CompressedPictures[] = [];
  for (let round = 0; round < rounds; round++) made.push(own(await compress(round)));
  const places = made.flatMap((pictures) => pictures.places?.places ?? []);
  return {
    tokens: tf.concat(
      made.map(({ tokens }) => tokens),
      0,
    ),
    places: made[0].places && { ...made[0].places, places },
  };
}

/** What the album holds for all methods, cut to what one of them needs: a method may use all that it is given. */
function showOnly(
  seen: SeenPictures,
  { clsAttention = [], attention = [], keys = [] }: TowerNeeds,
): SeenPictures {
  const only = <T>(layers: number[], all: Map<number, T>) => new Map(layers.map((l) => [l, all.get(l)!]));
  return {
    ...seen,
    clsAttention: only(clsAttention, seen.clsAttention),
    attention: only(attention, seen.attention),
    keys: only(keys, seen.keys),
  };
}

/** For each picture the questions about it, indices. */
function questionsByPicture({ pictures, questions }: Task): number[][] {
  const asked = pictures.map((): number[] => []);
  for (const [i, { picture }] of questions.entries()) asked[picture].push(i);
  return asked;
}

/** Questions of equal prompt length together, in batches of nearly equal size. */
function batchByLength(questions: readonly number[], prompts: readonly ImagePrompt[]): number[][] {
  const byLength = new Map<number, number[]>();
  for (const question of questions) {
    const length = prompts[question].before.length + prompts[question].after.length;
    const group = byLength.get(length);
    if (group) group.push(question);
    else byLength.set(length, [question]);
  }
  return [...byLength.values()].flatMap((group) => {
    const batches = Math.ceil(group.length / batchSize);
    const size = Math.ceil(group.length / batches);
    return Array.from({ length: batches }, (_, i) => group.slice(i * size, (i + 1) * size));
  });
}

/** The pictures of a batch of questions, one for each. The caller disposes its tokens. */
const takeRows = ({ tokens, places }: Shown, rows: number[]): Shown => ({
  tokens: tf.tidy(() => tf.gather(tokens, tf.tensor1d(rows, 'int32'))),
  places: places && { ...places, places: rows.map((row) => places.places[row]) },
});
