/** Whether a prompt that lost visual tokens between the decoder's layers still is that prompt. */
import { violations, type Violation } from './violation.ts';

/** What one decoder layer ran on at prefill. What is left out is not looked at. */
export interface LayerTokens {
  /** The places in the uncut prompt of the tokens that it ran on, in its order. */
  tokens?: readonly number[];
  /** How many there were, where their places are not at hand. */
  length?: number;
  /** How many keys its cache holds after the prompt. */
  cache?: number;
  /** The position that each token was turned by (RoPE). */
  positions?: readonly number[];
}

/** One prompt's way through the decoder. */
export interface LayerCuts {
  /** The places of the text in the uncut prompt. */
  text: readonly number[];
  /** The places of the picture. */
  image: readonly number[];
  /** From layer 0 to the last. */
  layers: readonly LayerTokens[];
  /** Whether tokens keep the positions that they had, or are numbered anew, 0 to n − 1. */
  positions?: 'original' | 'contiguous';
}

/** Each property of cuts, and why it matters. */
export const cutWhys = {
  text: 'only the picture is compressed: a prompt that lost a word is another question',
  subset: 'a token that an earlier layer dropped has no state that a later one could go on from',
  order: 'causal attention goes by order: a token before its place is seen by those that came before it',
  shorter: 'a layer can drop tokens but not make more than came to it',
  cache: 'decoding attends to the cache: a key more or fewer than the layer saw shifts every later token',
  positions:
    'RoPE turns by distance: two tokens at one position, or out of order, are at a distance that they never had',
} as const;

/** What is wrong with cuts, each kind once. */
export function checkCuts({ text, image, layers, positions: mode = 'original' }: LayerCuts): Violation[] {
  const { found, add } = violations(cutWhys);
  const told = new Set<string>();
  const once = (property: keyof typeof cutWhys, message: string | undefined | false) => {
    if (!message || told.has(property)) return;
    told.add(property);
    add(property, message);
  };
  const [words, patches] = [new Set(text), new Set(image)];
  let before: ReadonlySet<number> = patches;
  let length = text.length + image.length;
  for (const [l, layer] of layers.entries()) {
    const at = `layer ${l}`;
    const { tokens, cache, positions } = layer;
    const n = tokens?.length ?? layer.length ?? positions?.length ?? cache;
    if (tokens) {
      const kept = tokens.filter((t) => words.has(t));
      once(
        'text',
        String(kept) !== String(text) && `${at} runs on the text tokens [${kept}], should be [${text}]`,
      );
      const visual = tokens.filter((t) => !words.has(t));
      const stray = visual.find((t) => !before.has(t));
      once('subset', stray !== undefined && `${at} runs on token ${stray}, which ${patches.has(stray) ? 'an earlier layer dropped' : 'is no token of the prompt'}`); // prettier-ignore
      const fall = tokens.findIndex((t, i) => i > 0 && t <= tokens[i - 1]);
      once('order', fall > 0 && `${at} runs on token ${tokens[fall - 1]} before ${tokens[fall]}`);
      before = new Set(visual);
    } else {
      once('text', n !== undefined && n < text.length && `${at} runs on ${n} tokens, but the text alone has ${text.length}`); // prettier-ignore
    }
    if (n === undefined) continue;
    once('shorter', n > length && `${at} runs on ${n} tokens, the one before on ${length}`);
    length = n;
    once(
      'cache',
      cache !== undefined && cache !== n && `the cache of ${at} holds ${cache} tokens, it saw ${n}`,
    );
    if (positions) once('positions', faultOfPositions(positions, n, mode, at));
  }
  return found;
}

function faultOfPositions(
  positions: readonly number[],
  n: number,
  mode: NonNullable<LayerCuts['positions']>,
  at: string,
): string | undefined {
  if (positions.length !== n) return `${at} has ${positions.length} positions for ${n} tokens`;
  if (mode === 'contiguous') {
    const off = positions.findIndex((position, i) => position !== i);
    return off < 0 ? undefined : `${at} has position ${positions[off]} at place ${off}, should be ${off}`;
  }
  const fall = positions.findIndex((position, i) => i > 0 && !(position > positions[i - 1]));
  return fall < 0 ? undefined : `${at} has position ${positions[fall]} after ${positions[fall - 1]}`;
}
