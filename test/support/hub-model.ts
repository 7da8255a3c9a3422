/** A model at a hub of our own, and a cache without anything, anew for each test of a file. */
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect } from 'vitest';
import { downloadModel, type Downloaded, type DownloadOptions } from '../../src/node/hub-download.ts';
import { listFiles } from './cli.ts';
import { serveHub, type TestHub } from './hub.ts';

/** What is fetched of `org/name`, and what is not. */
export const wanted: Record<string, Buffer> = {
  'config.json': Buffer.from('{"model_type": "llava"}'),
  'model.safetensors': Buffer.from(Array.from({ length: 60_000 }, (_, i) => (i * i) % 251)),
  'tokenizer.json': Buffer.from(`{"version": "${'1.0'.repeat(1000)}"}`),
  'chat_template.jinja': Buffer.from(''),
  'additional_chat_templates/tool.jinja': Buffer.from('{{ tools }}'),
};
const unwanted = {
  'README.md': 'a model',
  'pytorch_model.bin': 'a pickle',
  'pytorch_model.bin.index.json': '{}',
  'model-00001-of-00002.safetensors': 'the same again',
  'model.safetensors.index.json': '{}',
  'model.fp16.safetensors': 'the same, shorter',
  'onnx/model.onnx': 'a graph',
  'onnx/config.json': '{}',
};

let folder: string;
export let hub: TestHub;
/** Names the hub and the cache. */
export let env: NodeJS.ProcessEnv;
/** A place in the test's folder, and one of the model's in the cache. */
export const at = (...parts: string[]) => path.join(folder, ...parts);
export const repo = (...parts: string[]) => at('cache', 'models--org--name', ...parts);

export function useHub(): void {
  beforeEach(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'vtc-cls-hub-'));
    await mkdir(at('empty'));
    const files: Record<string, string> = { ...unwanted };
    for (const [file, bytes] of Object.entries(wanted)) files[file] = bytes.toString('latin1');
    hub = await serveHub(at('empty'), 'org/name', files);
    env = { HF_ENDPOINT: hub.address, HF_HUB_CACHE: at('cache') };
  });
  afterEach(async () => {
    await hub.close();
    await rm(folder, { recursive: true, force: true });
  });
}

/** Without a wait between tries, of which there are three. */
export const download = (options: DownloadOptions = {}, name = 'org/name'): Promise<Downloaded> =>
  downloadModel(name, { env, pauses: [0, 0], ...options });

/** Writes a file, and makes its folder. */
export async function place(file: string, content: string | Uint8Array): Promise<void> {
  await mkdir(path.dirname(file), { recursive: true });
  await writeFile(file, content);
}

/** That a folder holds all that is wanted, byte by byte, and nothing else. */
export async function expectWhole(dir: string): Promise<void> {
  expect(await listFiles(dir)).toEqual(Object.keys(wanted).sort());
  for (const [file, bytes] of Object.entries(wanted)) {
    expect((await readFile(path.join(dir, file))).equals(bytes), file).toBe(true);
  }
}
