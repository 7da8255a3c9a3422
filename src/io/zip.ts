/**
 * The directory of a zip file whose entries are stored as they are, which is how `torch.save` writes. From the end:
 *
 *     entry data …                      each behind a local header of 30 bytes, its name and its extras
 *     central directory                 46 bytes and names: sizes, and where each local header is
 *     [zip64 end, 56 bytes; its locator, 20]     where 32 bits are too few
 *     end of directory, 22 bytes
 *
 * Format: PKWARE's APPNOTE.TXT, sections 4.3 and 4.5.3. Compressed or encrypted entries are refused.
 */
import { decodeLatin1 } from '../bytes.ts';
import { UserError } from '../errors.ts';
import type { ByteSource } from '../folder.ts';
import { readAt } from './read-at.ts';

/** An entry of a zip file: where its bytes are. */
export interface ZipEntry {
  name: string;
  begin: number;
  bytes: number;
}

const endBytes = 22;
const limits = { directoryBytes: 100_000_000, entries: 1_000_000, comment: 65_535 };
const signatures = {
  local: 0x04034b50,
  central: 0x02014b50,
  end: 0x06054b50,
  end64: 0x06064b50,
  locator64: 0x07064b50,
};

/** @throws UserError for what is no such file */
export async function readZip(source: ByteSource): Promise<Map<string, ZipEntry>> {
  const fail = (problem: string) =>
    new UserError(`${source.name} is no zip file that torch.save wrote: ${problem}`);
  const readView = async (position: number, length: number): Promise<DataView> => {
    if (!(position >= 0 && position + length <= source.size)) throw fail('it is cut short');
    return new DataView((await readAt(source, position, length, source.name)).buffer);
  };
  const { end, directory } = await findEnd(source.size, readView, fail);
  if (directory.bytes > limits.directoryBytes || directory.entries > limits.entries)
    throw fail('its directory is too large');
  if (directory.begin + directory.bytes > end) throw fail('its directory lies beyond its end');
  const view = await readView(directory.begin, directory.bytes);
  const entries = new Map<string, ZipEntry>();
  let at = 0;
  for (let i = 0; i < directory.entries; i++) {
    if (at + 46 > view.byteLength || view.getUint32(at, true) !== signatures.central)
      throw fail('its directory is damaged');
    const [flags, method] = [view.getUint16(at + 8, true), view.getUint16(at + 10, true)];
    const [nameBytes, extraBytes, commentBytes] = [28, 30, 32].map((offset) =>
      view.getUint16(at + offset, true),
    );
    const next = at + 46 + nameBytes + extraBytes + commentBytes;
    if (next > view.byteLength) throw fail('its directory is damaged');
    const name = decodeLatin1(new Uint8Array(view.buffer, at + 46, nameBytes));
    const told = JSON.stringify(name.slice(0, 100));
    if (method !== 0 || (flags & 1) !== 0) throw fail(`${told} in it is compressed or encrypted`);
    const sizes = readSizes(view, at, nameBytes, extraBytes);
    if (sizes.stored !== sizes.bytes) throw fail(`${told} in it has two sizes`);
    const local = await readView(sizes.header, 30);
    if (local.getUint32(0, true) !== signatures.local)
      throw fail(`${told} in it is not where its directory says`);
    const begin = sizes.header + 30 + local.getUint16(26, true) + local.getUint16(28, true);
    if (!Number.isSafeInteger(begin) || begin + sizes.bytes > directory.begin)
      throw fail(`${told} in it is cut short`);
    if (entries.has(name)) throw fail(`${told} is in it twice`);
    entries.set(name, { name, begin, bytes: sizes.bytes });
    at = next;
  }
  return entries;
}

type ReadView = (position: number, length: number) => Promise<DataView>;

/** The record at the file's end, which a comment may follow. */
async function findEnd(size: number, readView: ReadView, fail: (problem: string) => UserError) {
  const length = Math.min(size, endBytes + limits.comment);
  const tail = await readView(size - length, length);
  let at = length - endBytes;
  while (at >= 0 && tail.getUint32(at, true) !== signatures.end) at--;
  if (at < 0) throw fail('it has no directory');
  const end = size - length + at;
  const small = {
    entries: tail.getUint16(at + 10, true),
    bytes: tail.getUint32(at + 12, true),
    begin: tail.getUint32(at + 16, true),
  };
  if (small.entries !== 0xffff && small.bytes !== 0xffffffff && small.begin !== 0xffffffff)
    return { end, directory: small };
  const locator = await readView(end - 20, 20);
  if (locator.getUint32(0, true) !== signatures.locator64) throw fail('its directory is damaged');
  const large = await readView(Number(locator.getBigUint64(8, true)), 56);
  if (large.getUint32(0, true) !== signatures.end64) throw fail('its directory is damaged');
  const [entries, bytes, begin] = [32, 40, 48].map((offset) => Number(large.getBigUint64(offset, true)));
  return { end, directory: { entries, bytes, begin } };
}

/** An entry's sizes and place, of 32 bits or, in the extra field of type 1, of 64. */
function readSizes(view: DataView, at: number, nameBytes: number, extraBytes: number) {
  const small = { stored: 20, bytes: 24, header: 42 };
  const [stored, bytes, header] = Object.values(small).map((offset) => view.getUint32(at + offset, true));
  const sizes = { stored, bytes, header };
  let extra = at + 46 + nameBytes;
  const end = extra + extraBytes;
  while (extra + 4 <= end) {
    const [type, length] = [view.getUint16(extra, true), view.getUint16(extra + 2, true)];
    let field = extra + 4;
    for (const key of type === 1 ? (['bytes', 'stored', 'header'] as const) : []) {
      if (sizes[key] !== 0xffffffff || field + 8 > Math.min(end, extra + 4 + length)) continue;
      sizes[key] = Number(view.getBigUint64(field, true));
      field += 8;
    }
    extra += 4 + length;
  }
  return sizes;
}
