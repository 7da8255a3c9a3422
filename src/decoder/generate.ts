import * as tf from '@tensorflow/tfjs-core';
import { UserError } from '../errors.ts';
import { createRandom, type Random } from '../random.ts';
import { embed } from '../tensor/linear.ts';
import { free, scope } from '../tensor/scope.ts';
import type { Trace } from '../tensor/trace.ts';
import { createCache, type KvCache } from './cache.ts';
import type { DecoderConfig } from './config.ts';
import { runLlama, type Llama } from './llama.ts';
import { placesOf, replaceRows, type NumberToken } from './number-token.ts';
import { createRope, type Rope } from './rope.ts';
import { checkSampling, greedy, pickToken, type Sampling } from './sample.ts';
import type { DecoderInput, LayerHook } from './state.ts';

/** A prompt that has been read: its caches, and the logits of the token that follows. Dispose it when done. */
export interface Session {
  logits: tf.Tensor3D; // [B, 1, V], or [B, T, V] when all were asked for
  cache: KvCache;
  rope: Rope;
  nextPosition: number;
  /** What a method does between the layers, this prompt's own. */
  hook?: LayerHook;
  /** A token that stands for numbers, where the decoder has one. */
  numberToken?: NumberToken;
  /** Frees the caches and the logits. */
  dispose(): void;
}

/** How a prompt is read. */
export interface PrefillOptions {
  /** How many tokens may follow: RoPE's table is made this long. */
  maxNewTokens: number;
  hook?: LayerHook;
  /** A token that stands for numbers, if it says one. */
  numberToken?: NumberToken;
  trace?: Trace;
}

/**
 * How many positions a prompt and its answer may take, and what sets that bound. Within a sliding window all tokens see
 * all before them; beyond it they would not, which is not computed here.
 */
export function contextOf({ max_position_embeddings: context, sliding_window: window }: DecoderConfig): {
  positions: number;
  bound: string;
} {
  return window !== null && window < context
    ? { positions: window, bound: 'sliding window' }
    : { positions: context, bound: 'context' };
}

/** @throws UserError when a prompt's positions and the new tokens exceed the decoder's context or sliding window */
export function checkContext(config: DecoderConfig, positions: number, maxNewTokens: number): void {
  const most = contextOf(config);
  if (positions + maxNewTokens > most.positions) {
    throw new UserError(
      `the prompt takes ${positions} positions and ${maxNewTokens} new tokens are asked for, ` +
        `but the decoder's ${most.bound} is ${most.positions}`,
    );
  }
}

/** What decides which tokens come, and how many. */
export type DecodingOption = 'maxNewTokens' | 'sampling' | 'seed' | 'stopTokens';

/** @throws UserError for counts and numbers that cannot be */
export function checkDecoding({
  maxNewTokens,
  sampling = greedy,
  seed = 0,
  stopTokens = [],
}: Pick<GenerateOptions, DecodingOption>): void {
  checkNewTokens(maxNewTokens);
  checkSampling(sampling);
  if (!Number.isSafeInteger(seed)) throw new UserError(`seed=${seed} is not a whole number`);
  const bad = stopTokens.find((id) => !Number.isSafeInteger(id) || id < 0);
  if (bad !== undefined) throw new UserError(`stopTokens: ${bad} is not a token id`);
}

function checkNewTokens(maxNewTokens: number): void {
  if (Number.isSafeInteger(maxNewTokens) && maxNewTokens >= 0) return;
  throw new UserError(`maxNewTokens=${maxNewTokens} is not a whole number from 0`);
}

/**
 * Reads a prompt: one pass over all its tokens, which fills the caches.
 * @throws UserError when prompt and new tokens exceed the decoder's context
 */
export async function prefill(
  llama: Llama,
  input: DecoderInput,
  { maxNewTokens, hook, numberToken, trace }: PrefillOptions,
): Promise<Session> {
  checkNewTokens(maxNewTokens);
  checkContext(llama.config, input.nextPosition, maxNewTokens);
  using own = scope();
  const rope = own(createRope(llama.config, input.nextPosition + maxNewTokens));
  const cache = own(createCache(numberToken !== undefined));
  const allLogits = trace?.wants('decoder.logits');
  const logits = own(await runLlama(llama, input, { rope, cache, hook, trace, allLogits }));
  const made = own.keep({ logits, cache, rope });
  return { ...made, nextPosition: input.nextPosition, hook, numberToken, dispose: () => free(made) };
}

/** How the decoder writes: by default greedily. */
export interface GenerateOptions extends PrefillOptions {
  sampling?: Sampling;
  seed?: number;
  /** Generation of an item ends before one of these; none: always `maxNewTokens`. */
  stopTokens?: readonly number[];
  /** Called with each token of the first item as it comes. */
  onToken?: (token: number) => void;
  signal?: AbortSignal;
}

/** What was written, of each item. */
export interface Written {
  /** The tokens before a stop token, [B][R]. */
  tokens: number[][];
  /** What each number token among them stands for, in order, [B][M][n]; where the decoder has one. */
  numbers?: number[][][];
}

/** The tokens alone of {@link writeOn}. */
export const decode = async (llama: Llama, session: Session, options: GenerateOptions): Promise<number[][]> =>
  (await writeOn(llama, session, options)).tokens;

/**
 * Writes on after a prompt, one token a step.
 * @param session disposed by the caller; its cache grows
 * @throws UserError for more tokens than the prompt was read for, or a session that is disposed
 */
export async function writeOn(llama: Llama, session: Session, options: GenerateOptions): Promise<Written> {
  const { maxNewTokens, sampling = greedy, seed = 0, stopTokens = [], onToken, signal, trace } = options;
  checkDecoding(options);
  if (session.logits.isDisposed) throw new UserError('this session is disposed: read the prompt again');
  const left = session.rope.cos.shape[0] - session.nextPosition;
  if (maxNewTokens - 1 > left) {
    throw new UserError(
      `${maxNewTokens} new tokens are asked for, but the prompt was read for ${left + 1} at most`,
    );
  }
  const B = session.logits.shape[0];
  const random = createRandom(seed);
  const tokens: number[][] = Array.from({ length: B }, () => []);
  const numbers = session.numberToken && tokens.map((): number[][] => []);
  const open = tokens.map(() => true);
  let logits = session.logits;
  try {
    for (let step = 0; step < maxNewTokens; step++) {
      signal?.throwIfAborted();
      const next = await pickTokens(logits, sampling, random);
      const meant = await readNumbers(session, next);
      for (const [b, token] of next.entries()) {
        if (stopTokens.includes(token)) open[b] = false;
        if (!open[b]) continue;
        tokens[b].push(token);
        if (meant.has(b)) numbers![b].push(meant.get(b)!);
        if (b === 0) onToken?.(token);
      }
      if (!open.includes(true) || step + 1 === maxNewTokens) break;
      const following = await runToken(llama, session, next);
      if (logits !== session.logits) logits.dispose();
      logits = following;
    }
  } finally {
    if (logits !== session.logits) logits.dispose();
  }
  const R = Math.max(...tokens.map((row) => row.length));
  if (maxNewTokens > 0) trace?.record('generate.tokens', { shape: [B, R], tensor: () => tensorOf(tokens) });
  return { tokens, numbers };
}

function tensorOf(tokens: number[][]): tf.Tensor {
  if (tokens.some((row) => row.length !== tokens[0].length)) {
    throw new Error('a trace takes no stop tokens: every item must have equally many');
  }
  return tf.tensor2d(tokens, undefined, 'int32');
}

/** Prefill and decode in one. */
export async function generate(
  llama: Llama,
  input: DecoderInput,
  options: GenerateOptions,
): Promise<number[][]> {
  using own = scope();
  return await decode(llama, own(await prefill(llama, input, options)), options);
}

/**
 * One decoding step: B tokens in, their successors' logits [B, 1, V] out.
 * @param session its cache grows, and its next position moves on
 */
export async function runToken(
  llama: Llama,
  session: Session,
  next: readonly number[],
): Promise<tf.Tensor3D> {
  using own = scope();
  const hidden = own(embedNext(llama, session, next)); // [B, 1, E]
  const positions = own(tf.fill<tf.Rank.R2>([next.length, 1], session.nextPosition++, 'int32'));
  const roles = next.map(() => ['text' as const]);
  return await runLlama(llama, { hidden, positions, roles }, session);
}

/** The tokens as the decoder reads them next; of a number token what its numbers are written as. */
function embedNext({ weights }: Llama, session: Session, next: readonly number[]): tf.Tensor3D {
  return tf.tidy(() => {
    const words = embed(weights.embed_tokens, tf.tensor2d([...next], [next.length, 1], 'int32'));
    const said = sayNumbers(session, next);
    return said ? replaceRows(words, said.items, session.numberToken!.write(said.numbers)) : words;
  });
}

/** Whose next token stands for numbers, and those numbers [M, n]; undefined where none does. */
function sayNumbers({ numberToken, cache }: Session, next: readonly number[]) {
  const items = numberToken ? placesOf([next], numberToken) : [];
  if (items.length === 0) return undefined;
  const states: tf.Tensor2D = tf.reshape(cache.state!, [next.length, -1]); // [B, E]
  return { items, numbers: numberToken!.read(tf.gather(states, items)) };
}

/** The same on the host, by item. */
async function readNumbers(session: Session, next: readonly number[]): Promise<Map<number, number[]>> {
  using own = scope();
  const said = tf.tidy(() => sayNumbers(session, next));
  if (!said) return new Map();
  const rows = await own(said.numbers).array();
  return new Map(said.items.map((item, m) => [item, rows[m]]));
}

/** The next token of each item, from the logits of its last position. */
async function pickTokens(logits: tf.Tensor3D, sampling: Sampling, random: Random): Promise<number[]> {
  const [B, T, V] = logits.shape;
  const values = (await logits.data()) as Float32Array;
  return Array.from({ length: B }, (_, b) => {
    const end = (b + 1) * T * V;
    return pickToken(values.subarray(end - V, end), sampling, random);
  });
}
