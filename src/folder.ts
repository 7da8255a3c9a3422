/**
 * A folder of files, wherever it is: the core reads checkpoints through this alone. `node/folder.ts` has one on disk,
 * `io/fetch-folder.ts` one behind an address.
 */
import { decodeText } from './bytes.ts';
import { parseObject, type JsonObject } from './json.ts';

/** A checkpoint's files, wherever they lie: on disk, behind an address, in memory. */
export interface Folder {
  /** What messages call it: its path or address. */
  name: string;
  /** What messages call a file in it. */
  place(file: string): string;
  /** Is there such a file? @throws UserError where the folder cannot be read */
  has(file: string): Promise<boolean>;
  /**
   * The names of what is in it, as far as that can be told.
   * @param inside a folder in it instead, which need not be there
   * @throws UserError where it cannot be read
   */
  list(inside?: string): Promise<string[]>;
  /** A whole file; undefined where there is none. @throws UserError where it cannot be read */
  read(file: string): Promise<Uint8Array | undefined>;
  /** A file to read parts of. The caller closes it. @throws UserError where it cannot be read */
  open(file: string): Promise<ByteSource>;
}

/** A file that is open: its bytes are read where they are asked for. */
export interface ByteSource {
  /** What messages call it. */
  name: string;
  /** How many bytes it has. */
  size: number;
  /**
   * Fills `into` with the bytes from `position` on.
   * @returns how many it read: it may stop short, and reads none at the end only
   */
  read(position: number, into: Uint8Array): Promise<number>;
  /** Nothing can be read after. It may be called again. */
  close(): Promise<void>;
}

/** A folder's text file; undefined where there is none. @throws UserError naming it */
export async function readText(folder: Folder, file: string): Promise<string | undefined> {
  const bytes = await folder.read(file);
  return bytes && decodeText(bytes, folder.place(file));
}

/** A folder's JSON file that holds one object; undefined where there is none. @throws UserError naming it */
export async function readJson(folder: Folder, file: string): Promise<JsonObject | undefined> {
  const text = await readText(folder, file);
  return text === undefined ? undefined : parseObject(text, folder.place(file));
}
