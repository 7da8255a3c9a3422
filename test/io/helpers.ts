/** Files for the tests of src/io: a folder that goes away, and safetensors files made by hand, right or wrong. */
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';

/** A new empty folder, removed when the test file is done. */
export function makeFolder(): string {
  const dir = mkdtempSync(join(tmpdir(), 'vtc-io-'));
  afterAll(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

/** The bytes of a file with this header, taken as it is, before so many bytes of data: 0, 1, 2, … */
export function fileBytes(header: string | Uint8Array, dataBytes: number): Uint8Array {
  const json = typeof header === 'string' ? Buffer.from(header) : header;
  const bytes = new Uint8Array(8 + json.length + dataBytes);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(json.length), true);
  bytes.set(json, 8);
  for (let i = 0; i < dataBytes; i++) bytes[8 + json.length + i] = i;
  return bytes;
}

/** Writes a file of one F32 [2] tensor per name, 8 bytes each. */
export function writePairs(path: string, names: string[]): void {
  const entries = names.map((name, i) => [
    name,
    { dtype: 'F32', shape: [2], data_offsets: [8 * i, 8 * i + 8] },
  ]);
  writeFileSync(path, fileBytes(JSON.stringify(Object.fromEntries(entries)), 8 * names.length));
}

/** Files that this process holds open; 0 where the system does not tell. */
export function countOpenFiles(): number {
  try {
    return readdirSync('/proc/self/fd').length;
  } catch {
    return 0;
  }
}
