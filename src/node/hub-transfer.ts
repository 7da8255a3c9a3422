/**
 * A file of the hub comes to its place: its bytes first under a name that ends in `.incomplete`, from where the last try ended;
 * the name is given by a rename, once size and hash are what the hub's list says.
 */
import { constants, open, rename, rm, type FileHandle } from 'node:fs/promises';
import { UserError } from '../errors.ts';
import { digestFile, reasonOf } from './files.ts';
import type { HubFile } from './hub-listing.ts';
import { ask, Dropped, persist, type Hub } from './hub-requests.ts';

/** Not the name that Hugging Face's library gives: the two may be at work at the same time. */
export const incomplete = (place: string): string => `${place}.vtc.incomplete`;

/**
 * Fetches a file; what is there of it in part is gone on from.
 * @param onBytes how many bytes there are
 * @throws UserError where it cannot be had as the list says it is; what there is of it stays, unless its hash is wrong
 */
export async function fetchFile(
  hub: Hub,
  address: string,
  file: HubFile,
  place: string,
  onBytes: (bytes: number) => void,
): Promise<void> {
  const partial = incomplete(place);
  try {
    const handle = await open(partial, constants.O_RDWR | constants.O_CREAT);
    try {
      await fillWhole(hub, address, file, { partial, handle, onBytes });
      await handle.sync(); // its name will say that it is whole
    } finally {
      const { size } = await handle.stat();
      await handle.close();
      if (size === 0 && file.size > 0) await rm(partial, { force: true }); // nothing to go on from
    }
    await rename(partial, place);
  } catch (error) {
    if (error instanceof UserError) throw error;
    throw new UserError(`cannot write ${partial}: ${reasonOf(error)}`);
  }
}

interface Partial {
  partial: string;
  handle: FileHandle;
  onBytes: (bytes: number) => void;
}

/** @throws UserError for wrong bytes, of which nothing is kept */
async function fillWhole(hub: Hub, address: string, file: HubFile, into: Partial): Promise<void> {
  const { partial, handle } = into;
  let isNew = (await handle.stat()).size === 0;
  for (;;) {
    await fill(hub, address, file, into);
    const found = await digestOf(partial, file);
    if (found === file.hash) return;
    await handle.truncate(0);
    if (isNew) {
      throw new UserError(
        `${address} is not the file that its list names: its hash is ${found}, should be ${file.hash}`,
      );
    }
    isNew = true; // what was there before may have been wrong
  }
}

/** What the hub would call these bytes: git names a file by its length and them. */
export const digestOf = (place: string, { algorithm, size }: HubFile): Promise<string> =>
  algorithm === 'git' ? digestFile(place, 'sha1', `blob ${size}\0`) : digestFile(place);

/** Asks for what is missing until it is there. */
async function fill(
  hub: Hub,
  address: string,
  { size }: HubFile,
  { handle, onBytes }: Partial,
): Promise<void> {
  let { size: at } = await handle.stat();
  const begin = async (from: number) => {
    if (from < at) await handle.truncate(from);
    onBytes((at = from));
  };
  await begin(at > size ? 0 : at);
  const attempt = async () => {
    if (at === size) return;
    const range: Record<string, string> = at === 0 ? {} : { range: `bytes=${at}-` };
    await ask(hub, address, range, async (response) => {
      const from = startOf(response);
      if (from !== at) await begin(0); // a server may not serve ranges …
      if (from !== at) throw new Dropped(`${address} sends another part than was asked for`); // … or serve them wrongly
      checkLength(response, address, size, at);
      return async (piece) => {
        if (at + piece.length > size)
          throw new UserError(`${address} sends more than the ${size} bytes of its list`);
        await writeAll(handle, piece, at);
        onBytes((at += piece.length));
      };
    });
    if (at < size) throw new Dropped(`${address} ends after ${at} of ${size} bytes`);
  };
  await persist(hub, attempt, () => at);
}

/** Where in the file an answer begins; undefined where it does not say. */
function startOf({ status, headers }: Response): number | undefined {
  if (status !== 206) return status === 200 ? 0 : undefined;
  const begin = /^bytes (\d+)-/.exec(headers.get('content-range') ?? '')?.[1];
  return begin === undefined ? undefined : Number(begin);
}

function checkLength({ headers }: Response, address: string, size: number, at: number): void {
  const length = headers.get('content-length');
  if (length === null || headers.has('content-encoding') || Number(length) === size - at) return;
  throw new UserError(`${address} has ${at + Number(length)} bytes, where its list says ${size}`);
}

/** The system may take a piece in parts. */
async function writeAll(handle: FileHandle, piece: Uint8Array, at: number): Promise<void> {
  let done = 0;
  while (done < piece.length) {
    done += (await handle.write(piece, done, piece.length - done, at + done)).bytesWritten;
  }
}
