/** Safetensors files on disk. */
import { UserError } from '../errors.ts';
import {
  encodeSafetensors,
  encodeSafetensorsHeader,
  readSafetensors,
  type SafetensorsFile,
  type Tensors,
  type TensorSpec,
} from '../io/safetensors.ts';
import { writeAtomically } from './files.ts';
import { openFile } from './folder.ts';

/**
 * {@link readSafetensors} of a file on disk; the caller closes it.
 * @throws UserError also if it cannot be read
 */
export async function openSafetensors(path: string): Promise<SafetensorsFile> {
  return readSafetensors(await openFile(path));
}

/**
 * Writes {@link encodeSafetensors}, under a temporary name beside the file until it is whole: a failure leaves none.
 * @throws UserError before the disk is touched if a tensor is not what it says it is; and if the disk refuses
 */
export async function writeSafetensors(
  path: string,
  tensors: Tensors,
  metadata: Record<string, string> = {},
): Promise<void> {
  const parts = encodeSafetensors(path, tensors, metadata);
  await writeAtomically(path, async (handle) => {
    for (const part of parts) await handle.writeFile(part);
  });
}

/**
 * The same of tensors that are read while they are written, one at a time.
 * @param read a tensor's bytes, as many as its shape takes
 */
export async function copySafetensors(
  path: string,
  tensors: ReadonlyMap<string, TensorSpec>,
  read: (name: string) => Promise<Uint8Array>,
  metadata: Record<string, string> = {},
): Promise<void> {
  const { header, order } = encodeSafetensorsHeader(path, tensors, metadata);
  let refused: unknown;
  try {
    await writeAtomically(path, async (handle) => {
      await handle.writeFile(header);
      for (const name of order) {
        const bytes = await read(name).catch((error: unknown) => {
          refused = error; // to be told as it is, not as what the disk said
          throw error;
        });
        await handle.writeFile(bytes);
      }
    });
  } catch (error) {
    throw refused instanceof UserError ? refused : error;
  }
}
