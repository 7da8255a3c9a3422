/** The core in a browser: bundled by Vite, opened in headless Chromium, held against Node to the last digits. */
import { mkdtemp, rm } from 'node:fs/promises';
import { isBuiltin } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import { chromium } from 'playwright-core';
import { build, type Plugin } from 'vite';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startBackend } from '../../src/backend/start.ts';
import { decodeImage, encodePng } from '../../src/node/decode.ts';
import { diskFolder } from '../../src/node/folder.ts';
import { drawWorld } from '../../src/world/draw.ts';
import { createScene, shownScene } from '../../src/world/scene.ts';
import { chromiumPath, requireBrowser } from '../support/browser.ts';
import { serve } from '../support/serve.ts';
import { answerQuestion, type Answered } from './answer.ts';
import type { Page } from './core.ts';

const root = path.join(import.meta.dirname, '..', '..');
const wasm = path.join(root, 'node_modules/@tensorflow/tfjs-backend-wasm/dist');
const weights = path.join(root, 'weights/llava');

requireBrowser();

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'vtc-cls-page-'));
});
afterAll(() => rm(folder, { recursive: true }));

/** Every file that imports something of Node's, as `FILE → BUILTIN`. */
function noteNode(found: string[]): Plugin {
  return {
    name: 'note-node',
    enforce: 'pre',
    resolveId(source, importer) {
      if (isBuiltin(source)) found.push(`${path.relative(root, importer ?? '')} → ${source}`);
    },
  };
}

/** What these packages say themselves that a page is to have nothing in place of. */
const emptyInPages = /^node_modules\/(@tensorflow\/tfjs-core|seedrandom)\//;

const quiet = { configFile: false, logLevel: 'error' } as const;

test('the core is bundled without anything of Node', async () => {
  const found: string[] = [];
  const result = await build({
    ...quiet,
    root,
    plugins: [noteNode(found)],
    build: {
      write: false,
      lib: { entry: path.join(root, 'src/index.ts'), formats: ['es'], fileName: 'core' },
    },
  });
  expect(found.filter((line) => !emptyInPages.test(line))).toEqual([]);
  const [{ output }] = result as { output: { code: string }[] }[];
  console.log(`the core: ${sizeOf(output.map(({ code }) => code).join(''))}`);
});

test.skipIf(chromiumPath === undefined)('answers as in Node', async () => {
  const site = path.join(folder, 'site');
  await build({ ...quiet, root: import.meta.dirname, base: './', build: { outDir: site } });
  await encodePng(drawWorld(createScene('test', shownScene)), path.join(folder, 'scene.png'));
  const question = 'where is the large cross ?';

  await startBackend('wasm');
  const picture = await decodeImage(path.join(folder, 'scene.png'));
  const here = await answerQuestion(diskFolder(weights), picture, question);
  expect(here.answer).toBe('upper-left');

  const server = await serve({ '/': site, '/wasm/': wasm, '/weights/': weights, '/pictures/': folder });
  const browser = await chromium.launch({ executablePath: chromiumPath, args: ['--no-sandbox'] });
  let there: Answered;
  try {
    const page = await browser.newPage();
    const errors: string[] = [];
    page.on('pageerror', (error) => errors.push(error.message));
    await page.goto(server.address);
    there = await page.evaluate(
      ([picture, question]) => (globalThis as unknown as Page).answer(picture, question),
      ['/pictures/scene.png', question],
    );
    expect(errors).toEqual([]);
  } finally {
    await browser.close();
    await server.close();
  }
  expect(there.answer).toBe(here.answer);
  expect(there.kept).toEqual(here.kept);
  expect(there.logits.length).toBe(here.logits.length);
  const largest = here.logits.reduce((most, x, i) => Math.max(most, Math.abs(x - there.logits[i])), 0);
  console.log(`largest difference of ${here.logits.length} logits: ${largest}`);
  expect(largest).toBeLessThanOrEqual(1e-6);
});

const sizeOf = (code: string): string =>
  `${(code.length / 1e3).toFixed(0)} kB, ${(gzipSync(code).length / 1e3).toFixed(0)} kB gzip`;
