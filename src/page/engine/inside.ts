/** A question's way through the decoder: where the answer looks, and what each layer would have said. */
import * as tf from '@tensorflow/tfjs-core';
import { readLogits, type Llama } from '../../decoder/llama.ts';
import { logSoftmax } from '../../eval/run/first.ts';
import { identity, multiply, type TokenMatrix } from '../../tensor/token-matrix.ts';
import { traceKey, type RecordedTrace } from '../../tensor/trace.ts';
import { scope } from '../../tensor/scope.ts';
import type { ImagePrompt } from '../../text/prompt.ts';

/** Of one question; what it is read from is the trace of one run. */
export interface Inside {
  /** The prompt's token ids around the picture. */
  before: number[];
  after: number[];
  /** Of the visual tokens that the decoder was given, the patches that each is made of: [U][…]. */
  tokens: number[][];
  /** For each decoder layer what the last token, which the answer follows, gives to each patch, mean over heads: [L][P]. */
  onPatches: number[][];
  /** The same, to each token of the text, before and after. */
  onText: number[][];
  /** What each layer's output would have answered, read as if it were the last: log P, [L][V]. */
  lens: number[][];
  /** The first numbers of each visual token, before the projector and after: [U][6]. */
  features: number[][];
  projected: number[][];
}

const shown = 6; // numbers of a row

/** @param trace of one run, with the decoder's attention, hidden states and logits, and the tokens before and after the projector */
export async function readInside(
  decoder: Llama,
  { matrices, tensors }: RecordedTrace,
  { before, after }: ImagePrompt,
): Promise<Inside> {
  const L = decoder.config.num_hidden_layers;
  let W = productOf(matrices, 'vision.', 'compress.');
  const inside: Inside = {
    before: [...before],
    after: [...after],
    tokens: W.rows[0].map((row) => [...row.keys()]),
    onPatches: [],
    onText: [],
    lens: [],
    features: await firstNumbers(tensors.get('compress.features')!),
    projected: await firstNumbers(tensors.get('projector.output')!),
  };
  for (let l = 0; l < L; l++) {
    const key = traceKey('decoder.matrix.LL', l);
    if (matrices.has(key)) W = multiply(matrices.get(key)!, W);
    const attention = await lastRow(tensors.get(traceKey('decoder.attention.LL', l))!);
    const visual = attention.slice(before.length, attention.length - after.length);
    inside.onPatches.push(spread(W, visual));
    inside.onText.push([...attention.slice(0, before.length), ...attention.slice(-after.length)]);
    inside.lens.push([...(await logsAt(decoder, tensors, l + 1))]);
  }
  return inside;
}

/** W of all that was done at some places, in data order. */
function productOf(matrices: ReadonlyMap<string, TokenMatrix>, ...places: string[]): TokenMatrix {
  const made = [...matrices].filter(([name]) => places.some((place) => name.startsWith(place)));
  return made
    .map(([, W]) => W)
    .reduce((before, after) => multiply(after, before), identity(1, made[0][1].columns));
}

/** What each patch gets of what its tokens got, in the shares that it has in them. */
function spread(W: TokenMatrix, attention: readonly number[]): number[] {
  const onPatches = Array<number>(W.columns).fill(0);
  for (const [u, row] of W.rows[0].entries()) {
    const whole = [...row.values()].reduce((sum, weight) => sum + Math.abs(weight), 0);
    for (const [patch, weight] of row) onPatches[patch] += (attention[u] * Math.abs(weight)) / whole;
  }
  return onPatches;
}

/** Of attention [1, H, T, T] the last token's row, the mean over heads. */
async function lastRow(attention: tf.Tensor): Promise<number[]> {
  using own = scope();
  const [, H, T, past] = attention.shape;
  const row = own(tf.tidy(() => tf.mean(tf.slice(attention, [0, 0, T - 1, 0], [1, H, 1, past]), [0, 1, 2])));
  return [...(await row.data())];
}

/** log P of the first token, if the output of layer l − 1 were the last; after the last layer it is what the model says. */
async function logsAt(
  decoder: Llama,
  tensors: ReadonlyMap<string, tf.Tensor>,
  l: number,
): Promise<Float64Array> {
  using own = scope();
  if (l === decoder.config.num_hidden_layers) return lastLogs({ tensors });
  const hidden = tensors.get(traceKey('decoder.hidden.LL', l)) as tf.Tensor3D;
  const [, T, E] = hidden.shape;
  const logits = own(tf.tidy(() => readLogits(decoder, tf.slice(hidden, [0, T - 1, 0], [1, 1, E]))));
  return logSoftmax((await logits.data()) as Float32Array);
}

/** log P of the first token of the answer: at the prompt's last place. */
export async function lastLogs({
  tensors,
}: {
  tensors: ReadonlyMap<string, tf.Tensor>;
}): Promise<Float64Array> {
  const logits = tensors.get('decoder.logits')!; // [1, T, V]
  const V = logits.shape.at(-1)!;
  return logSoftmax(((await logits.data()) as Float32Array).slice(-V));
}

/** Of tokens [1, U, W] each one's first numbers. */
async function firstNumbers(tokens: tf.Tensor): Promise<number[][]> {
  using own = scope();
  const [, U] = tokens.shape;
  const first = own(tf.tidy(() => tf.slice(tokens, [0, 0, 0], [1, U, shown])));
  return ((await first.array()) as number[][][])[0];
}
