/** A folder of files that are in memory: those of a page that is one file, or those that a visitor has chosen. */
import { UserError } from '../../errors.ts';
import type { Folder } from '../../folder.ts';

/** @param files by name */
export function memoryFolder(name: string, files: ReadonlyMap<string, Blob>): Folder {
  const place = (file: string) => `${name}/${file}`;
  const bytesOf = async (blob: Blob) => new Uint8Array(await blob.arrayBuffer());
  return {
    name,
    place,
    has: (file) => Promise.resolve(files.has(file)),
    list: (inside) => Promise.resolve(inside === undefined ? [...files.keys()] : []),
    read: async (file) => {
      const blob = files.get(file);
      return blob && (await bytesOf(blob));
    },
    open: (file) => {
      const blob = files.get(file);
      if (!blob) return Promise.reject(new UserError(`cannot read ${place(file)}: there is no such file`));
      return Promise.resolve({
        name: place(file),
        size: blob.size,
        read: async (position, into) => {
          const bytes = await bytesOf(blob.slice(position, position + into.length));
          into.set(bytes);
          return bytes.length;
        },
        close: () => Promise.resolve(),
      });
    },
  };
}
