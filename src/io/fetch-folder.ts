import { messageOf, UserError } from '../errors.ts';
import type { ByteSource, Folder } from '../folder.ts';

/** So much of a file is asked for at its opening: a header, or a small file whole. */
const firstBytes = 2 ** 24;

/**
 * A folder behind an address, read by `fetch`: in a page, or wherever else there is one. Of large files only the parts
 * that are asked for travel, where the server serves ranges; where it does not, a file is fetched whole when it is opened.
 *
 * @param address of the folder, absolute or, in a page, relative to it
 * @param files what is there, where that is known. Else a file is asked for (HEAD) before it is opened, and what can only
 *   be found by its name in a list, as `additional_chat_templates/`, is not found.
 */
export function fetchFolder(address: string, files?: readonly string[]): Folder {
  const place = (file: string) => `${address.replace(/\/$/, '')}/${file}`;
  return {
    name: address,
    place,
    list: (inside) => {
      const begin = inside === undefined ? '' : `${inside}/`;
      const names = (files ?? []).flatMap((file) =>
        file.startsWith(begin) ? [file.slice(begin.length)] : [],
      );
      return Promise.resolve([...new Set(names.map((name) => name.split('/')[0]))]);
    },
    has: async (file) => {
      if (files) return files.includes(file);
      const found = await ask(place(file), { method: 'HEAD' });
      return found !== undefined;
    },
    read: async (file) => {
      if (files && !files.includes(file)) return undefined;
      const response = await ask(place(file));
      return response && readBody(response, place(file));
    },
    open: (file) => openAddress(place(file)),
  };
}

async function openAddress(address: string): Promise<ByteSource> {
  const range = { headers: { range: `bytes=0-${firstBytes - 1}` } };
  // Of a file without bytes there is no such range.
  const response = (await ask(address, range, [416])) ?? noFile(address);
  const start = response.status === 416 ? new Uint8Array() : await readBody(response, address);
  const size = response.status === 206 ? totalOf(response) : start.length;
  if (size === undefined) return openWhole(address); // a page of another origin is not told
  return {
    name: address,
    size,
    read: async (position, into) => {
      const end = Math.min(position + into.length, size);
      if (position >= end) return 0;
      if (position < start.length) return copy(start.subarray(position, end), into);
      return copy(await readRange(address, position, end), into);
    },
    close: () => Promise.resolve(),
  };
}

async function openWhole(address: string): Promise<ByteSource> {
  const bytes = await readBody((await ask(address)) ?? noFile(address), address);
  const read: ByteSource['read'] = (position, into) =>
    Promise.resolve(copy(bytes.subarray(position, position + into.length), into));
  return { name: address, size: bytes.length, read, close: () => Promise.resolve() };
}

async function readRange(address: string, begin: number, end: number): Promise<Uint8Array> {
  const response =
    (await ask(address, { headers: { range: `bytes=${begin}-${end - 1}` } })) ?? noFile(address);
  if (response.status !== 206)
    throw new UserError(`cannot read ${address}: its server serves no ranges any more`);
  const bytes = await readBody(response, address);
  if (bytes.length <= end - begin) return bytes;
  throw new UserError(
    `cannot read ${address}: asked for ${end - begin} bytes, its server sent ${bytes.length}`,
  );
}

function copy(bytes: Uint8Array, into: Uint8Array): number {
  into.set(bytes);
  return bytes.length;
}

/** @returns undefined where there is no such file */
async function ask(
  address: string,
  init: RequestInit = {},
  also: number[] = [],
): Promise<Response | undefined> {
  let response: Response;
  try {
    response = await fetch(address, init);
  } catch (error) {
    throw refusal(address, error);
  }
  if (response.ok || also.includes(response.status)) return response;
  await response.body?.cancel();
  if ([404, 410].includes(response.status)) return undefined;
  throw new UserError(
    `cannot read ${address}: its server answers ${response.status} ${response.statusText}`.trim(),
  );
}

async function readBody(response: Response, address: string): Promise<Uint8Array> {
  try {
    return new Uint8Array(await response.arrayBuffer());
  } catch (error) {
    throw refusal(address, error);
  }
}

/** How many bytes the file has of which this is a part. */
function totalOf(response: Response): number | undefined {
  const total = /\/(\d+)$/.exec(response.headers.get('content-range') ?? '')?.[1];
  return total === undefined ? undefined : Number(total);
}

const refusal = (address: string, error: unknown): UserError =>
  new UserError(`cannot read ${address}: ${messageOf(error).split('\n')[0]}`);

function noFile(address: string): never {
  throw new UserError(`cannot read ${address}: there is no such file`);
}
