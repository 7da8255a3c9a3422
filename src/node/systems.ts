/** Loads what a system of the field was trained to: `weights/NAME`, or a folder of the user's. */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { withWeights, type AnySystem, type ModelConfigs } from '../compress/trained/system.ts';
import type { Method } from '../compress/method.ts';
import { UserError } from '../errors.ts';
import { loadTree } from '../io/load-tree.ts';
import { checkNames } from '../io/weight-table.ts';
import { readArchitecture } from './checkpoint.ts';
import { digestFile } from './files.ts';
import { openSafetensors } from './safetensors.ts';
import { shippedFolder } from './shipped.ts';

/**
 * A system as a method, with its weights; they stay for as long as the process runs.
 * @param dir the folder in which `NAME/model.safetensors` lies; by default that which comes with this program
 * @throws UserError naming the file, where there is none or it is not for this model
 */
export async function loadSystem(
  system: AnySystem,
  model: ModelConfigs,
  dir = shippedFolder(),
): Promise<Method> {
  const file = path.join(dir, system.name, 'model.safetensors');
  if (!existsSync(file)) {
    throw new UserError(
      `${file}: there are no weights of ${system.name}; vtc train --system ${system.name} makes them`,
    );
  }
  await checkModel(system, model);
  const digest = (await digestFile(file)).slice(0, 8);
  const saved = await openSafetensors(file);
  try {
    const source = {
      dir: file,
      tensors: saved.tensors,
      readFloat32: (name: string) => saved.readFloat32(name),
    };
    const table = system.table(model);
    checkNames(source, table, /^$/, 'the model');
    return withWeights(system, { weights: await loadTree(source, table), model }, digest);
  } finally {
    await saved.close();
  }
}

/** Sizes alone do not tell decoders apart. @throws UserError for a system that goes with another model than this */
async function checkModel({ name, model: shipped }: AnySystem, model: ModelConfigs): Promise<void> {
  if (shipped === undefined) return;
  const dir = shippedFolder(shipped);
  const meant = await readArchitecture(dir);
  if (meant.kind === 'llava' && JSON.stringify(meant.text) === JSON.stringify(model.text)) return;
  throw new UserError(
    `${name} was trained with ${dir}, and this model has another decoder: give --model ${dir}`,
  );
}
