/** The page as a visitor has it: built, served under a sub-path, opened in Chromium, and held against Node. */
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { chromium, type Browser, type Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startBackend } from '../../src/backend/start.ts';
import { encodePng } from '../../src/node/decode.ts';
import { diskFolder } from '../../src/node/folder.ts';
import { buildPage, measurePage } from '../../src/page/build/build.ts';
import { openEngine, type Engine, type Told } from '../../src/page/engine/engine.ts';
import { decodeState, encodeState } from '../../src/page/state/address.ts';
import { openingState, sceneOf, type PageState } from '../../src/page/state/state.ts';
import type { PageConsole } from '../../src/page/page.tsx';
import { drawWorld } from '../../src/world/draw.ts';
import { chromiumPath, requireBrowser } from '../support/browser.ts';
import { full } from '../support/full.ts';
import { serve, type Server } from '../support/serve.ts';

requireBrowser();
const wanted = full || Boolean(process.env['VTC_TEST_BROWSER']);
if (!wanted)
  console.warn(
    'the page in a browser: left to npm run test:full, which builds it and visits it for a minute',
  );

type World = { vtcPage: PageConsole };
const axe = createRequire(import.meta.url).resolve('axe-core');

let folder: string;
let out: string;
let server: Server;
let browser: Browser;
let engine: Engine;

describe.skipIf(!wanted || chromiumPath === undefined)('the page', () => {
  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'vtc-cls-visit-'));
    out = path.join(folder, 'page');
    await buildPage(out);
    server = await serve({ '/some/where/': out });
    browser = await chromium.launch({
      executablePath: chromiumPath,
      args: ['--no-sandbox', '--enable-unsafe-swiftshader'],
    });
    await startBackend('wasm');
    engine = await openEngine(diskFolder('weights/llava'));
  }, 180_000);
  afterAll(async () => {
    engine.dispose();
    await browser.close();
    await server.close();
    await rm(folder, { recursive: true });
  });

  interface Visit {
    page: Page;
    errors: string[];
    requests: string[];
  }

  /** Opens the page; all that it throws and all that it asks for is noted. */
  async function visit(state?: PageState, query = '', size = { width: 1280, height: 900 }): Promise<Visit> {
    const page = await browser.newPage({ viewport: size });
    const [errors, requests]: string[][] = [[], []];
    page.on('pageerror', (error) => errors.push(error.message));
    page.on('request', (request) => requests.push(request.url()));
    await page.goto(
      `${server.address}/some/where/index.html${query}${state ? `#${encodeState(state)}` : ''}`,
    );
    return { page, errors, requests };
  }

  const settle = (page: Page) => page.waitForSelector('[data-settled=true]', { timeout: 45_000 });
  const toldOf = (page: Page) =>
    page.evaluate(
      () => JSON.parse(JSON.stringify((globalThis as unknown as World).vtcPage.told.value)) as Told,
    );
  const stateOf = (page: Page) =>
    page.evaluate(
      () => JSON.parse(JSON.stringify((globalThis as unknown as World).vtcPage.state.value)) as PageState,
    );

  /** What Node says of a state. */
  async function tellHere(state: PageState): Promise<Told> {
    await engine.look(drawWorld(sceneOf(state)));
    const told = await engine.ask(state.question, { method: `vtc-cls:layers=${state.K}`, budget: state.U });
    if ('refused' in told) throw new Error(told.refused);
    return told;
  }

  function expectSame(there: Told, here: Told): void {
    expect(there.answer).toBe(here.answer);
    expect(there.stops).toEqual(here.stops);
    const largest = here.logs.reduce((most, x, i) => Math.max(most, Math.abs(x - there.logs[i])), 0);
    expect(largest).toBeLessThanOrEqual(1e-6);
  }

  test('shows a scene at once, then says what Node says, and asks nobody else', async () => {
    const begun = server.requests.length;
    const { page, errors, requests } = await visit();
    expect(await page.locator('[data-answer=cut]').textContent()).not.toBe('…'); // before the model is there
    await settle(page);
    expectSame(await toldOf(page), await tellHere(openingState()));
    const other = { ...openingState(7, 'heldout'), K: 2, U: 9 };
    await page.evaluate((hash) => (location.hash = hash), encodeState(other));
    await page.waitForFunction((U) => (globalThis as unknown as World).vtcPage.state.value.U === U, 9);
    await settle(page);
    expectSame(await toldOf(page), await tellHere(other));
    expect(errors).toEqual([]);
    const foreign = requests.filter(
      (url) => !url.startsWith(`${server.address}/some/where/`) && !url.startsWith('data:'),
    );
    expect(foreign).toEqual([]);
    const asked = [
      ...new Set(server.requests.slice(begun).map((line) => line.split(' ')[1].slice('/some/where/'.length))),
    ];
    const sizes = await Promise.all(asked.map(async (file) => (await readFile(path.join(out, file))).length));
    const sum = sizes.reduce((total, size) => total + size, 0);
    console.log(`the first view: ${asked.length} files, ${(sum / 1e6).toFixed(2)} MB`);
    expect(sum).toBeLessThanOrEqual(4e6);
    expect((await measurePage(out)).first).toBeLessThanOrEqual(4e6);
    await page.close();
  });

  test('an object is dragged, and the choice follows', async () => {
    const { page } = await visit();
    await settle(page);
    const before = await stateOf(page);
    const scene = (await page.locator('.scene').boundingBox())!;
    const at = (x: number, y: number) =>
      [scene.x + (x / 80) * scene.width, scene.y + (y / 80) * scene.height] as const;
    const [x0, y0, x1, y1] = before.objects[0].box;
    await page.mouse.move(...at((x0 + x1) / 2, (y0 + y1) / 2));
    await page.mouse.down();
    await page.mouse.move(...at(40, 40), { steps: 5 });
    await page.mouse.move(...at(70, 70), { steps: 5 });
    await page.mouse.up();
    const after = await stateOf(page);
    expect(after.objects[0].box).not.toEqual(before.objects[0].box);
    expect(after.objects.slice(1)).toEqual(before.objects.slice(1));
    await settle(page);
    const told = await toldOf(page);
    expectSame(told, await tellHere(after));
    expect(told.stops).not.toEqual((await tellHere(before)).stops);
    await page.close();
  });

  test('the line that cuts is dragged, and the curve has its point there', async () => {
    const { page } = await visit();
    await settle(page);
    await page.locator('.bars').scrollIntoViewIfNeeded();
    const bars = (await page.locator('.bars').boundingBox())!;
    const x = (U: number) => bars.x + ((44 + (U / 100) * (720 - 8 - 44)) / 720) * bars.width;
    await page.mouse.move(x(25), bars.y + 60);
    await page.mouse.down();
    await page.mouse.move(x(50), bars.y + 60, { steps: 6 });
    await page.mouse.up();
    expect((await stateOf(page)).U).toBe(50);
    await settle(page);
    const told = await toldOf(page);
    expect(told.stops.at(-1)!.kept).toHaveLength(50);
    const point = page.locator('.curve circle[data-budget="50"]');
    expect(await point.getAttribute('r')).toBe('5');
    const word = engine.facts.vocabulary.indexOf(told.answer);
    expect(Number(await point.getAttribute('data-p'))).toBeCloseTo(Math.exp(told.logs[word]), 6);
    await expect(page.locator('[data-ticks]').textContent()).resolves.toContain('enters');
    await page.close();
  });

  test('a link opens what was seen', async () => {
    const first = await visit({
      ...openingState(9),
      U: 31,
      pinned: 44,
      painted: [1, 2, 33],
      step: 3,
      rival: 'divprune',
    });
    await settle(first.page);
    await first.page.getByRole('radio', { name: /how large/ }).click();
    await first.page.waitForFunction(() => location.hash.includes('lens=norms'));
    const second = await visit(decodeState(new URL(first.page.url()).hash.slice(1), engine.facts.methods.map(({ name }) => name))); // prettier-ignore
    await settle(second.page);
    expect(await stateOf(second.page)).toEqual(await stateOf(first.page));
    expect((await toldOf(second.page)).logs).toEqual((await toldOf(first.page)).logs);
    for (const { page } of [first, second]) await page.close();
  });

  test('every method has its panel, those that read the question when CLIP is there', async () => {
    const { page, errors } = await visit();
    await settle(page);
    const refused = () => page.locator('[data-method]:not(:has(canvas))').evaluateAll((all) => all.map((one) => one.getAttribute('data-method'))); // prettier-ignore
    expect(await refused()).toEqual(engine.facts.methods.filter(({ readsQuestion }) => readsQuestion).map(({ name }) => name)); // prettier-ignore
    await page.getByRole('button', { name: /load CLIP/ }).click();
    await page.waitForFunction(() => (globalThis as unknown as World).vtcPage.hasClip.value);
    await settle(page);
    expect(await refused()).toEqual([]);
    expect(await page.locator('[data-method]').count()).toBe(engine.facts.methods.length);
    const blank = await page.locator('[data-method] > canvas').evaluateAll(
      (all) =>
        (all as HTMLCanvasElement[]).filter((canvas) => {
          const { data } = canvas.getContext('2d')!.getImageData(0, 0, canvas.width, canvas.height);
          return data.every((x, i) => x === data[i % 4]);
        }).length,
    );
    expect(blank).toBe(0);
    await page.locator('[data-method=divprune] button').click();
    await settle(page);
    await expect(page.locator('[data-difference]').textContent()).resolves.toMatch(/only divprune keeps \d+/);
    expect(await page.locator('[data-method=pyramiddrop] .stops canvas').count()).toBeGreaterThan(1);
    expect(errors).toEqual([]);
    await page.close();
  });

  test('all of it by keyboard alone', async () => {
    const { page, errors } = await visit();
    await settle(page);
    const focused = () => page.evaluate(() => {
        const at = document.activeElement!;
        return `${at.tagName} ${at.getAttribute('role') ?? ''} ${at.getAttribute('aria-label') ?? at.textContent?.trim().slice(0, 40) ?? ''}`;
      }); // prettier-ignore
    const tabTo = async (pattern: RegExp) => {
      for (let i = 0; i < 400; i++) {
        if (pattern.test(await focused())) return;
        await page.keyboard.press('Tab');
      }
      throw new Error(`no way to ${pattern} by Tab`);
    };
    await tabTo(/gridcell row 1, column 1: /);
    for (const key of ['ArrowRight', 'ArrowDown', 'End']) await page.keyboard.press(key);
    expect(await focused()).toContain('row 2, column 10');
    await page.keyboard.press('Enter');
    expect((await stateOf(page)).pinned).toBe(19);
    await tabTo(/^SELECT/);
    await tabTo(/move the .* with the arrow keys/);
    const before = (await stateOf(page)).objects[0].box;
    await page.keyboard.press(before[0] > 40 ? 'ArrowLeft' : 'ArrowRight');
    expect((await stateOf(page)).objects[0].box).not.toEqual(before);
    await tabTo(/layer 2, head 1/);
    await page.keyboard.press('Enter');
    expect(await stateOf(page)).toMatchObject({ layer: 2, head: 1 });
    await tabTo(/^INPUT/); // K
    await page.keyboard.press('ArrowLeft');
    expect((await stateOf(page)).K).toBe(2);
    await page.keyboard.press('Tab');
    await page.keyboard.press('ArrowRight');
    expect((await stateOf(page)).U).toBe(26);
    await tabTo(/not painted/);
    await page.keyboard.press(' ');
    expect((await stateOf(page)).painted).toHaveLength(1);
    await tabTo(/show me: /);
    await tabTo(/equations; left and right/);
    for (const step of [1, 2, 3]) {
      await page.keyboard.press('ArrowRight');
      expect((await stateOf(page)).step).toBe(step);
    }
    await settle(page);
    expect(await page.locator('[data-numbers]').textContent()).toMatch(/is number \d+ of 100/);
    await tabTo(/the CLIP’s files|INPUT.*$/);
    // To the end, and out of the page: nothing holds the focus.
    for (let i = 0; i < 400 && !(await focused()).startsWith('BODY'); i++) await page.keyboard.press('Tab');
    expect(await focused()).toMatch(/^BODY/);
    expect(errors).toEqual([]);
    await page.close();
  }, 120_000);

  test.each([
    ['wide, light', { width: 1280, height: 900 }, 'light'],
    ['narrow, dark', { width: 390, height: 844 }, 'dark'],
  ] as const)('axe finds nothing serious: %s', async (_, viewport, colorScheme) => {
    const page = await browser.newPage({ viewport, colorScheme, reducedMotion: 'reduce' });
    await page.goto(`${server.address}/some/where/index.html`);
    await settle(page);
    for (const details of await page.locator('details').all()) await details.evaluate((one) => (one.setAttribute('open', ''), undefined)); // prettier-ignore
    await page.addScriptTag({ path: axe });
    const found = await page.evaluate(async () => {
      const { violations } = await (globalThis as unknown as { axe: { run(): Promise<{ violations: { id: string; impact: string; nodes: { html: string }[] }[] }> } }).axe.run(); // prettier-ignore
      return violations.map(({ id, impact, nodes }) => `${impact} ${id}: ${nodes.map(({ html }) => html.slice(0, 120)).slice(0, 3).join(' | ')}`); // prettier-ignore
    });
    expect(found.filter((line) => /^(serious|critical)/.test(line))).toEqual([]);
    expect(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth)).toBe(true); // nothing sticks out
    await page.close();
  });

  test('from a single file, and from a link that embeds it', async () => {
    const page = await browser.newPage();
    const errors: string[] = [];
    page.on('pageerror', (error) => errors.push(error.message));
    await page.goto(
      `${pathToFileURL(path.join(out, 'single.html')).href}#${encodeState({ ...openingState(5), U: 20 })}`,
    );
    await settle(page);
    expectSame(await toldOf(page), await tellHere({ ...openingState(5), U: 20 }));
    expect(errors).toEqual([]);
    await page.close();
    const embedded = await visit(undefined, '?embed');
    await settle(embedded.page);
    expect(await embedded.page.locator('section').count()).toBe(2);
    await embedded.page.close();
  });

  test('a thousand questions leave no tensor behind', async () => {
    const { page } = await visit();
    await settle(page);
    const numTensors = () => page.evaluate(() => (globalThis as unknown as World).vtcPage.numTensors());
    const before = await numTensors();
    const failed = await page.evaluate(() => (globalThis as unknown as World).vtcPage.askMany(1000));
    expect(failed).toBe(0);
    expect(await numTensors()).toBe(before);
    await page.close();
  }, 180_000);

  test('a picture to take along is drawn', async () => {
    const { page } = await visit();
    await settle(page);
    const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: /PNG/ }).click()]); // prettier-ignore
    const bytes = await readFile((await download.path())!);
    expect(bytes.subarray(1, 4).toString()).toBe('PNG');
    expect(bytes.length).toBeGreaterThan(10_000);
    await page.close();
  });

  test('files that are none of what they should be are told in a sentence, and the page goes on', async () => {
    const { page, errors } = await visit();
    await settle(page);
    const bad = path.join(folder, 'bad.png');
    await writeFile(bad, 'no picture');
    const trouble = async (pattern: RegExp) => {
      await page.waitForSelector('[data-trouble]');
      const text = (await page.locator('[data-trouble]').textContent())!;
      expect(text).toMatch(pattern);
      expect(text.length).toBeLessThan(800); // all names that are missing, together
    };
    await page.locator('.controls input[type=file]').setInputFiles(bad);
    await trouble(/bad\.png is no picture/);
    const own = page.locator('input[data-own=files]');
    const give = async (files: [string, string | Buffer][]) => {
      await own.setInputFiles(
        files.map(([name, bytes]) => ({ name, mimeType: '', buffer: Buffer.from(bytes) })),
      );
      await page.waitForFunction(() =>
        [...document.querySelectorAll('[role=status]')].every((one) => !one.textContent.includes('working')),
      );
    };
    const config = await readFile('weights/clip/config.json');
    await give([['config.json', config], ['model.safetensors', 'nothing']]); // prettier-ignore
    await trouble(/your CLIP\/model\.safetensors/);
    await give([['config.json', '{'], ['model.safetensors', 'nothing']]); // prettier-ignore
    await trouble(/config\.json/);
    await give([['model.safetensors', 'nothing']]);
    await trouble(/config\.json/);
    await give([['config.json', config], ['model.safetensors', await readFile('weights/dyvte/model.safetensors')]]); // prettier-ignore
    await trouble(/your CLIP/);
    // A right one.
    await give([
      ['config.json', config],
      ['weights.safetensors', await readFile('weights/clip/model.safetensors')],
      ['preprocessor_config.json', await readFile('weights/clip/preprocessor_config.json')],
    ]);
    const picture = path.join(folder, 'right.png');
    await encodePng(drawWorld(sceneOf(openingState())), picture);
    await page.locator('input[data-own=picture]').setInputFiles(picture);
    await page.waitForSelector('[data-own=panels] canvas');
    expect(await page.locator('[data-own=panels] canvas').count()).toBe(5);
    // A photograph in place of the scene.
    await page.locator('.controls input[type=file]').setInputFiles(picture);
    await page.waitForFunction(() => (globalThis as unknown as World).vtcPage.photo.value !== undefined);
    await settle(page);
    expect(await page.locator('[data-truth]').textContent()).toContain('photograph');
    expect((await toldOf(page)).answer).toBe((await tellHere(openingState())).answer);
    expect(errors).toEqual([]);
    await page.close();
  }, 120_000);

  test('a worker that is gone is noticed, and started again', async () => {
    const { page } = await visit();
    await settle(page);
    await page.workers()[0].evaluate(() => (globalThis as unknown as { close(): void }).close()).catch(() => undefined); // prettier-ignore
    await page.locator('#vote .slider input').last().press('ArrowRight');
    await page.waitForSelector('[data-failed]', { timeout: 30_000 });
    expect(await page.locator('[data-failed]').textContent()).toContain('stopped answering');
    await page.getByRole('button', { name: 'start it again' }).click();
    await settle(page);
    expectSame(await toldOf(page), await tellHere(await stateOf(page)));
    await page.close();
  }, 90_000);

  test('another backend may be chosen in the middle of its work', async () => {
    const { page, errors } = await visit();
    await page.waitForSelector('[data-status=ready]');
    const choice = page.locator('header select');
    for (const name of ['webgl', 'wasm', 'wasm']) await choice.selectOption(name);
    await settle(page);
    expectSame(await toldOf(page), await tellHere(openingState()));
    expect(await page.locator('[data-failed]').count()).toBe(0);
    expect(errors).toEqual([]);
    await page.close();
  }, 90_000);

  test('WebGL gives the same answer, and a context that is lost is told', async () => {
    const { page } = await visit(undefined, '?backend=webgl');
    await page.waitForFunction(() => (globalThis as unknown as World).vtcPage.lookTime.value !== undefined || (globalThis as unknown as World).vtcPage.status.value.is === 'failed', undefined, { timeout: 60_000 }); // prettier-ignore
    const status = await page.evaluate(() => (globalThis as unknown as World).vtcPage.status.value);
    if (status.is === 'failed') {
      expect(status.why).toContain('WebGL'); // this browser has none: it says so
    } else {
      const here = await tellHere(openingState());
      await page.waitForFunction(
        () => {
          const { told, cachedStates } = (globalThis as unknown as World).vtcPage;
          return told.value !== undefined && told.value.logs[0] !== cachedStates[0].told.logs[0];
        }, // no longer what was computed before
        undefined,
        { timeout: 60_000 },
      );
      const there = await toldOf(page);
      expect(there.answer).toBe(here.answer);
      for (const [i, x] of here.logs.entries()) expect(Math.abs(x - there.logs[i])).toBeLessThan(2e-3);
      await page
        .workers()[0]
        .evaluate(() => (globalThis as unknown as { loseContext(): void }).loseContext());
      await page.waitForSelector('[data-failed]', { timeout: 30_000 });
      expect(await page.locator('[data-failed]').textContent()).toMatch(/WebGL/);
      await page.getByRole('button', { name: 'start it again' }).click(); // on wasm
    }
    if (status.is === 'failed') await page.getByRole('button', { name: 'start it again' }).click();
    await settle(page);
    expectSame(await toldOf(page), await tellHere(openingState()));
    await page.close();
  }, 180_000);

  test('a browser without WebAssembly SIMD has the scenes that were computed before, and a sentence', async () => {
    const page = await browser.newPage();
    await page.route('**/worker.js', async (route) => {
      const response = await route.fetch();
      await route.fulfill({
        response,
        body: `WebAssembly.validate = () => false;\n${await response.text()}`,
      });
    });
    await page.goto(`${server.address}/some/where/index.html`);
    await page.waitForSelector('[data-failed]');
    expect(await page.locator('[data-failed]').textContent()).toContain('no WebAssembly SIMD');
    await page.getByRole('button', { name: /^where 13 patches are too few/ }).click();
    expect((await stateOf(page)).U).toBe(13);
    expect(await page.locator('[data-answer=cut]').textContent()).toContain('wrong');
    expect(await page.locator('[data-answer=uncut]').textContent()).toContain('right');
    await page.close();
  });

  test('screenshots to be looked at', async () => {
    await mkdir('out/page', { recursive: true });
    for (const width of [1280, 390]) {
      const { page } = await visit(undefined, '', { width, height: width > 800 ? 900 : 844 });
      await settle(page);
      await page.screenshot({ path: `out/page/${width}.png` });
      await page.screenshot({ path: `out/page/${width}-whole.png`, fullPage: true });
      await page.close();
    }
  });
});
