import { copyFile, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { readTokenizer } from '../../src/node/checkpoint.ts';
import type { Tokenizer } from '../../src/text/tokenizer.ts';
import { golden } from './golden.ts';
import { makeFolder } from './pictures.ts';

/** The three layouts of golden/tokenizer, their BOS token, and how many ids they have. */
export const layouts = {
  'spm-bpe': { bos: 1, vocabulary: 600 },
  'byte-bpe': { bos: 560, vocabulary: 563 },
  'split-bpe': { bos: 561, vocabulary: 564 },
} as const;

export type Layout = keyof typeof layouts;
export const layoutNames = Object.keys(layouts) as Layout[];

export interface EncodeCase {
  text: string;
  ids: number[];
  idsWithSpecial: number[];
  decoded: string;
}

export interface DecodeCase {
  ids: number[];
  decoded: string;
  decodedWithSpecial: string;
}

/** What Hugging Face's tokenizers library makes of some texts and ids. */
export async function readCases(layout: Layout): Promise<{ encode: EncodeCase[]; decode: DecodeCase[] }> {
  const file = await readFile(golden('tokenizer', 'cases.json'), 'utf8');
  return (JSON.parse(file) as Record<Layout, { encode: EncodeCase[]; decode: DecodeCase[] }>)[layout];
}

/** A checkpoint folder with this layout's `tokenizer.json` alone, gone when the test is over. */
export async function makeTokenizerFolder(layout: Layout, config?: object): Promise<string> {
  const dir = await makeFolder();
  await copyFile(golden('tokenizer', `${layout}.json`), path.join(dir, 'tokenizer.json'));
  if (config) await writeFile(path.join(dir, 'tokenizer_config.json'), JSON.stringify(config));
  return dir;
}

export async function makeTokenizer(layout: Layout): Promise<Tokenizer> {
  return readTokenizer(await makeTokenizerFolder(layout), layouts[layout].bos);
}
