/** PerceptionGPT's answer to one prompt in float64, everything computed anew for each token. */
import type { Mlp, PerceptionGptWeights } from '../../src/compress/trained/perceptiongpt.ts';
import type { DecoderConfig } from '../../src/decoder/config.ts';
import type { ProjectorConfig } from '../../src/projector.ts';
import type { Arrays } from '../support/random.ts';
import { llamaBlock } from './llama.ts';
import { linear, rmsNorm, type Matrix, type Vector } from './ops.ts';
import { project } from './projector.ts';

const relu = (x: Matrix): Matrix => x.map((row) => row.map((value) => (value > 0 ? value : 0)));

const mlp = ([first, second, third]: Arrays<Mlp>, x: Vector): Vector =>
  linear(relu(linear(relu(linear([x], first)), second)), third)[0];

interface Prompt {
  before: number[];
  after: number[];
  numbers: number[][];
}

/**
 * Follows the tokens that were said.
 * @param features F [P, D]
 * @returns the boxes of the `<loc>` among them; of each token its logit and the best
 */
export function writeBoxAnswer(
  weights: Arrays<PerceptionGptWeights>,
  config: DecoderConfig,
  projector: ProjectorConfig,
  features: Matrix,
  { before, after, numbers }: Prompt,
  said: readonly number[],
): { boxes: Vector[]; margins: { best: number; said: number }[] } {
  const loc = config.vocab_size - 2;
  const { embed_tokens: table, layers, norm, lm_head } = weights.decoder;
  const given = [...numbers];
  const read = (id: number): Vector => (id === loc ? mlp(weights.write, given.shift()!) : table[id]);
  const sequence = [
    ...before.map(read),
    ...project(weights.projector, features, projector.hidden_act),
    ...after.map(read),
  ];
  const boxes: Vector[] = [];
  const margins: { best: number; said: number }[] = [];
  for (const token of said) {
    const positions = sequence.map((_, t) => t);
    const hidden = layers.reduce((x, layer) => llamaBlock(layer, x, positions, config).hidden, sequence);
    const state = rmsNorm(hidden, norm, config.rms_norm_eps).at(-1)!;
    const logits = linear([state], lm_head)[0];
    margins.push({ best: Math.max(...logits), said: logits[token] });
    if (token === loc) {
      const box = mlp(weights.read, state).map((x) => 1 / (1 + Math.exp(-x)));
      boxes.push(box);
      given.push(box);
    }
    sequence.push(read(token));
  }
  return { boxes, margins };
}
