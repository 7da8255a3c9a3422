/** The equations of the method, each with the line of the source that computes it: taken from there when the page is built. */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import katex from 'katex';
import { codeToHtml } from 'shiki';

/** One step of the walk. */
interface Step {
  title: string;
  formula: string;
  /** The file under `src/`, and what the line holds, once in it. */
  file: string;
  line: string;
  words: string;
}

const steps: Step[] = [
  {
    title: 'Each head compares [CLS] with every patch',
    formula: String.raw`A^{(l,h)}_p=\frac{\exp\left(q\cdot k_p/\sqrt{C}\right)}{\sum_{n=0}^{P}\exp\left(q\cdot k_n/\sqrt{C}\right)}`,
    file: 'vision/block.ts',
    line: 'const row = attendRow(query, keys);',
    words:
      'The query q is a list of C numbers for what [CLS] looks for in one head of one layer, the key k one for what a patch offers. How well they match is their product; exp and the division (a softmax) make shares of it that sum to 1 over [CLS] itself and all patches.',
  },
  {
    title: 'A layer’s score is the mean over its heads',
    formula: String.raw`a^{(l)}_p=\frac1H\sum_{h=1}^{H}A^{(l,h)}_p`,
    file: 'compress/score.ts',
    line: 'return tf.mean(clsAttention, 1);',
    words: 'The heads of one layer vote with equal weight.',
  },
  {
    title: 'The last K layers vote together',
    formula: String.raw`s_p=\sum_{l=L-K+1}^{L}a^{(l)}_p`,
    file: 'compress/ensemble.ts',
    line: "'sum': (scores) =>",
    words:
      'One layer alone may look away; K of them together rarely do. L is the layer whose output LLaVA reads.',
  },
  {
    title: 'The U best stay, in their old order',
    formula: String.raw`\mathcal{I}=\operatorname{sort}\left(\operatorname{top}_U(s)\right)`,
    file: 'compress/top-k.ts',
    line: '.slice(0, budget)',
    words: 'Of equal scores the lower patch number wins. The order is the picture’s, row after row.',
  },
  {
    title: 'What stays is picked by a matrix of single ones',
    formula: String.raw`F'=W\cdot F,\qquad W\in\{0,1\}^{U\times P}`,
    file: 'compress/compress.ts',
    line: 'made ?? features.times(W)',
    words: 'F holds one row of numbers for each patch; F′ only those of the patches that stay.',
  },
  {
    title: 'The projector speaks the decoder’s language',
    formula: String.raw`Z=\operatorname{gelu}\left(F'W_1+b_1\right)W_2+b_2`,
    file: 'projector.ts',
    line: 'return weights.linear_2 ? linear(weights.linear_2',
    words: 'Each token by itself: so it may be pruned before or after.',
  },
  {
    title: 'The picture stands where the prompt has it',
    formula: String.raw`X=\left[\,\text{before}\;\middle|\;Z\;\middle|\;\text{after}\,\right]`,
    file: 'decoder/splice.ts',
    line: 'const parts = [head, image, tail].filter(',
    words:
      'The decoder reads text and picture as one row of tokens. Fewer visual tokens, a shorter row: that is all that is saved.',
  },
  {
    title: 'The decoder says one word',
    formula: String.raw`P(w)=\operatorname{softmax}\left(x_T\,W_{\text{out}}\right)_w`,
    file: 'decoder/llama.ts',
    line: 'const logits = linear(weights.lm_head, states);',
    words: 'x is what the last layer makes of the last token. The likeliest word is the answer.',
  },
];

/** The same, ready to be shown. */
export interface Equation {
  title: string;
  words: string;
  /** MathML. */
  formula: string;
  /** Where the line stands: `vision/block.ts:137`. */
  place: string;
  /** Highlighted. */
  code: string;
}

/** @throws Error where a line is not in its file, or not once */
export function renderEquations(src: string): Promise<Equation[]> {
  return Promise.all(
    steps.map(async ({ title, words, formula, file, line }) => {
      const lines = (await readFile(path.join(src, file), 'utf8')).split('\n');
      const found = [...lines.keys()].filter((i) => lines[i].includes(line));
      if (found.length !== 1) {
        throw new Error(
          `src/${file} has ${found.length} lines with "${line}", which the page's step "${title}" shows: it must be 1`,
        );
      }
      const code = await codeToHtml(lines[found[0]].trim(), {
        lang: 'ts',
        themes: { light: 'github-light-high-contrast', dark: 'github-dark-high-contrast' },
      });
      return {
        title,
        words,
        formula: katex.renderToString(formula, { output: 'mathml', displayMode: true }),
        place: `${file}:${found[0] + 1}`,
        code,
      };
    }),
  );
}
