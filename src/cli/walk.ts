/** The walk that `run` and the demo print: each step with its shape, its time and what it is. */
import type { Words } from '../compress/method.ts';
import { stepName, type Step } from '../tensor/trace.ts';
import { formatShape } from '../report/format.ts';

/** The steps that are the same for every method; the others a method has words for. */
const common: Words = {
  'vision.pixels': 'the picture resized, cropped and normalised',
  'vision.hidden.LL': 'patches and [CLS] with their positions; then a layer a line',
  'vision.clsAttention.LL': 'what [CLS] looks at there, a row a head',
  'vision.attention.LL': 'what every token looks at there',
  'vision.keys.LL': 'what the tokens are found by there',
  'vision.attended.LL': 'between its attention and its MLP',
  'vision.features': 'F, the selected layer without [CLS]',
  'compress.features': 'F′ = W·F',
  'compress.scores': 's, for who wants to see it',
  'compress.kept': 'which patches stay',
  'projector.output': 'Z, F′ at the decoder’s width',
  'decoder.embeddings': 'X = [text | Z | text]',
  'decoder.hidden.LL': 'the decoder reads X once, a layer a line',
  'decoder.cut.LL': 'what is left of X',
  'decoder.logits': 'how likely each next token is',
  'generate.tokens': 'one token after the other',
};

/** @param words a plan's, which go before the common ones; each is told the first time */
export function printSteps(words: Words = {}): (step: Step) => void {
  const told = new Set<string>();
  return ({ name, axes, shape, milliseconds }) => {
    const where = formatShape(axes, [...shape]);
    const time = milliseconds < 0.05 ? '' : `${milliseconds.toFixed(1)} ms`; // some steps only show
    const step = stepName(name);
    const what = told.has(step) ? '' : (words[step] ?? common[step] ?? '');
    told.add(step);
    console.log(`  ${name.padEnd(24)}${where.padEnd(24)}${time.padStart(9)}  ${what}`.trimEnd());
  };
}
