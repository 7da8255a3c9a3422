/** Safetensors files on disk. */
import { encodeSafetensors, readSafetensors, type SafetensorsFile, type Tensors } from '../io/safetensors.ts';
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
