/** A checkpoint's JSON files: every field of another type or size, gone, nested; and as damaged text. */
import { copyFile, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { readArchitecture, readPreprocessConfig, openWeights } from '../../../src/node/checkpoint.ts';
import { publishedNames, unusedNames, weightTable } from '../../../src/checkpoint/names.ts';
import { checkNames } from '../../../src/io/weight-table.ts';
import { pick, type Random } from '../../../src/random.ts';
import type { Fuzz } from '../fuzz.ts';
import { mutateBytes, mutateJson } from '../mutate.ts';

const golden = (...names: string[]) => path.join(import.meta.dirname, '..', '..', 'golden', ...names);
const models = ['llava-v5keys', 'llava-mistral', 'clip-model', 'llama-rope3', 'qwen2', 'clip-vision'];

/** What a command reads before weights: config, preprocessing, the names in the files. */
async function readFolder(folder: string): Promise<void> {
  const architecture = await readArchitecture(folder);
  if (architecture.kind !== 'decoder') await readPreprocessConfig(folder, architecture.vision.image_size);
  const files = await openWeights(folder);
  await files.close();
  checkNames(publishedNames(files, architecture), weightTable(architecture), unusedNames(architecture));
}

export const configs: Fuzz = {
  async prepare(folder) {
    const good = await Promise.all(
      models.map(async (model) => ({
        model,
        config: JSON.parse(await readFile(golden(model, 'config.json'), 'utf8')) as Record<string, unknown>,
      })),
    );
    const preprocessing = {
      image_processor_type: 'CLIPImageProcessor',
      size: { shortest_edge: 24 },
      crop_size: { height: 24, width: 24 },
      resample: 3,
      image_mean: [0.5, 0.5, 0.5],
      image_std: [0.5, 0.5, 0.5],
      do_center_crop: true,
      do_convert_rgb: true,
    };
    return async (random) => {
      const { model, config } = pick(random, good);
      const sized = { ...preprocessing, size: { shortest_edge: 24 } };
      const which = random();
      const changed = JSON.stringify(which < 0.7 ? mutateJson(random, config) : config);
      const text =
        which > 0.9
          ? deepen(random, changed)
          : which > 0.8
            ? mutateBytes(random, Buffer.from(changed))
            : changed;
      const processor = JSON.stringify(which < 0.5 ? sized : mutateJson(random, sized));
      await copyFile(golden(model, 'model.safetensors'), path.join(folder, 'model.safetensors'));
      await writeFile(path.join(folder, 'config.json'), text);
      await writeFile(path.join(folder, 'preprocessor_config.json'), processor);
      const run = which > 0.95 ? () => readGood(folder, config) : () => readFolder(folder);
      return { what: `${model} ${String(text).slice(0, 300)} ${processor.slice(0, 200)}`, run };
    };
  },
};

/** One of a text's values replaced by lists in lists. */
function deepen(random: Random, text: string): string {
  const depth = Math.floor(10 ** (1 + 4 * random()));
  const nested = '['.repeat(depth) + ']'.repeat(depth);
  const values = [...text.matchAll(/:("[^"]*"|[\d.]+)/g)];
  const { index, 0: found } = pick(random, values);
  return `${text.slice(0, index)}:${nested}${text.slice(index + found.length)}`;
}

/** The config as it is, without preprocessing of its own. */
async function readGood(folder: string, config: object): Promise<void> {
  await writeFile(path.join(folder, 'config.json'), JSON.stringify(config));
  await writeFile(
    path.join(folder, 'preprocessor_config.json'),
    '{"do_resize": false, "do_center_crop": false}',
  );
  await readArchitecture(folder);
}
