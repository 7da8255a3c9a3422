/** Asks a model every question of a task, under one method and budget. */
import * as tf from '@tensorflow/tfjs-core';
import type { Llava } from '../checkpoint/load.ts';
import type { TowerAsk } from '../compress/method.ts';
import type { ImagePrompt } from '../text/prompt.ts';
import type { Tokenizer } from '../text/tokenizer.ts';
import { asksOf, mergeOf, readsQuestion } from '../fit.ts';
import {
  answerPrompts,
  compressPictures,
  type CompressedPictures,
  type SeenPictures,
  type VlmOptions,
} from '../vlm.ts';
import type { Album } from './album.ts';
import type { Cell, CellRecord, Provenance } from './cell.ts';
import { costOf, joinPrompts, type PromptCount, type Times } from './costs.ts';
import type { Task } from './task.ts';

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
  const { method, methodOptions, positions } = variant;
  const milliseconds: Times = { see: 0, prefill: 0, decode: 0 };
  const options: VlmOptions = {
    ...{ method, methodOptions, positions, budget, maxNewTokens, stopTokens },
    onStep: (step) => {
      if (step.name.startsWith('prefill')) milliseconds.prefill += step.milliseconds;
      if (step.name.startsWith('decode')) milliseconds.decode += step.milliseconds;
    },
  };
  const answers = new Map<number, string>(); // by question
  let seen = 0; // pictures on the clock: those of one chunk
  const read: PromptCount[] = [];
  const asked = questionsByPicture(task);
  const asks = asksOf(model.config, variant);
  const merge = mergeOf(model.config, options);
  const reads = readsQuestion(method);

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
      const compressed = await compressRounds(rounds, (round) => {
        // Where a picture has no further question, any will do: nothing is asked about that choice.
        const ofRound = pictures.map((picture) => prompts[asked[picture][round] ?? questions[0]]);
        return compressPictures(showOnly(shown, asks), options, ofRound);
      });
      try {
        for (const batch of batchByLength(questions, prompts)) {
          const picture = takeRows(compressed, batch.map(rowOf));
          const asking = batch.map((question) => prompts[question]);
          try {
            const { tokens, prefillLengths } = await answerPrompts(model, picture, asking, options);
            for (const [i, question] of batch.entries())
              answers.set(question, tokenizer.decode(tokens[i]).trim());
            read.push({ layers: prefillLengths, questions: batch.length });
          } finally {
            picture.tokens.dispose();
          }
          onQuestions?.(batch.length);
        }
      } finally {
        compressed.tokens.dispose();
      }
    };
    await album.lend(chunk, ask, merge);
    if (seen > 0) continue;
    const ofEach = pictures.map((picture) => prompts[asked[picture][0] ?? questions[0]]);
    milliseconds.see = await timeSeeing(await album.look(chunk, asks, merge), options, ofEach);
    seen = pictures.length;
  }
  const seconds = (performance.now() - started) / 1000;
  const inOrder = [...answers.keys()].sort((a, b) => a - b).map((question) => answers.get(question)!);
  const counted = joinPrompts(read);
  const costs = costOf(model.config.text, counted);
  return { answers: inOrder, prompts: counted, ...costs, milliseconds, seen, seconds };
}

/** How long a look at some pictures and their compression take together; what was seen is disposed. */
async function timeSeeing(
  { seen, milliseconds }: Awaited<ReturnType<Album['look']>>,
  options: VlmOptions,
  prompts: ImagePrompt[],
): Promise<number> {
  try {
    const begun = performance.now();
    const { tokens } = await compressPictures(seen, options, prompts);
    tokens.dispose();
    return milliseconds + performance.now() - begun;
  } finally {
    seen.dispose();
  }
}

/** What a method makes of the pictures in several rounds, the rounds one after the other in one batch. */
async function compressRounds(
  rounds: number,
  compress: (round: number) => Promise<CompressedPictures>,
): Promise<CompressedPictures> {
  const made: CompressedPictures[] = [];
  try {
    for (let round = 0; round < rounds; round++) made.push(await compress(round));
    const kept = made.flatMap(({ choice }) => choice.kept ?? []);
    return {
      tokens: tf.concat(
        made.map(({ tokens }) => tokens),
        0,
      ),
      choice: { kept: kept.length > 0 ? kept : undefined },
    };
  } finally {
    tf.dispose(made.map(({ tokens }) => tokens));
  }
}

/** What the album holds for all methods, cut to what one of them asked for: a method may use all that it is given. */
function showOnly(
  seen: SeenPictures,
  { clsAttention = [], attention = [], keys = [] }: TowerAsk,
): SeenPictures {
  const only = <T>(layers: number[], all: Map<number, T>) => new Map(layers.map((l) => [l, all.get(l)!]));
  const { features } = seen;
  return {
    ...seen,
    features: {
      ...features,
      clsAttention: only(clsAttention, features.clsAttention),
      attention: only(attention, features.attention),
      keys: only(keys, features.keys),
    },
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
function takeRows({ tokens, choice }: CompressedPictures, rows: number[]): CompressedPictures {
  return {
    tokens: tf.tidy(() => tf.gather(tokens, tf.tensor1d(rows, 'int32'))),
    choice: { kept: choice.kept && rows.map((row) => choice.kept![row]) },
  };
}
