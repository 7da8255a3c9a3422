import * as tf from '@tensorflow/tfjs-core';
import type { Command } from 'commander';
import { UserError } from '../errors.ts';
import { readClipConfig, readPicture, readWording } from '../node/inputs.ts';
import { startBackend } from '../backend/start.ts';
import { contrast, embedPictures, embedTexts, type Clip } from '../vision/contrastive.ts';
import { addLoading, type LoadFlags } from './options.ts';
import { loadWithBar } from './progress.ts';
import { shippedModel } from '../node/shipped.ts';

interface ClassifyFlags extends LoadFlags {
  image: string;
  labels: string;
  model: string;
  json: boolean;
}

export function addClassifyCommand(program: Command): void {
  const command = program
    .command('classify')
    .description('say which of some texts describes a picture best: CLIP, zero-shot')
    .requiredOption('--image <file>', 'PNG, JPEG or WebP')
    .requiredOption(
      '--labels <texts>',
      'two or more texts with commas between: "a red circle, a blue square"',
    )
    .option(
      '--model <dir>',
      'a Hugging Face folder of type CLIP, with its text tower, or org/name in its cache; the default comes with this program',
      shippedModel('clip'),
    )
    .option('--json', 'print one JSON object instead of text', false);
  addLoading(command).action(run);
}

async function run(flags: ClassifyFlags): Promise<void> {
  const labels = splitLabels(flags.labels);
  const config = await readClipConfig(flags.model);
  const readWords = await readWording(flags.model, config.text);
  const ids = labels.map((label) => readWords(label, `label "${label}"`));
  const backend = await startBackend(flags.backend);
  const picture = await readPicture(flags.image, flags.model, config.vision.image_size);
  try {
    const model = await loadWithBar(flags.model, { weightsAs: flags.weightsAs });
    try {
      const scores = await scoreLabels(model.clip!, picture.pixels, ids); // a whole CLIP, as its config says
      const results = labels.map((label, i) => ({ label, ...scores[i] })).sort((a, b) => b.logit - a.logit);
      if (flags.json) {
        const { image, model } = flags;
        console.log(JSON.stringify({ image, model, backend: backend.name, labels: results }, null, 2));
      } else {
        for (const { label, probability } of results) {
          console.log(`${(100 * probability).toFixed(1).padStart(5)} %  ${label}`);
        }
      }
    } finally {
      model.dispose();
    }
  } finally {
    picture.pixels.dispose();
  }
}

/** How likely each label is among all of them: softmax(exp(logit_scale) · cosine). */
async function scoreLabels(
  clip: Clip,
  pixels: tf.Tensor4D, // [1, S, S, 3]
  ids: number[][],
): Promise<{ probability: number; logit: number }[]> {
  const scores = tf.tidy(() => {
    const logits = contrast(clip, embedPictures(clip, pixels), embedTexts(clip, ids)); // [1, labels]
    return [tf.softmax(logits), logits];
  });
  try {
    const [probabilities, row] = await Promise.all(scores.map((score) => score.data()));
    return ids.map((_, i) => ({ probability: probabilities[i], logit: row[i] }));
  } finally {
    tf.dispose(scores);
  }
}

function splitLabels(text: string): string[] {
  const labels = text.split(',').map((label) => label.trim());
  if (labels.includes('')) throw new UserError(`--labels "${text}": there is an empty label`);
  if (labels.length < 2) {
    throw new UserError(`--labels "${text}": one label alone is always 100 % likely; give two or more`);
  }
  return labels;
}
