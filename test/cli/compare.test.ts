import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { methods } from '../../src/compress/registry.ts';
import { decodeImage } from '../../src/node/decode.ts';
import { expectRefusal, makeDemoFiles, makeFileFolder, vtc, vtcOk } from '../support/cli.ts';

const folder = await makeFileFolder();
const { model, scene } = await makeDemoFiles(folder);
const [png, html] = ['sheet.png', 'page.html'].map((name) => path.join(folder, name));
const question = 'What is <in> the picture?';
const base = ['compare', '--image', scene, '--question', question, '--model', model, '--backend', 'wasm'];

describe.concurrent('compare', { timeout: 400_000 }, () => {
  test('every method of the registry: a table, a contact sheet and a page', async () => {
    const flags = ['--new-tokens', '3', '--out', png, '--html', html];
    const stdout = await vtcOk(...base, '--keep', '36', ...flags);
    const page = await readFile(html, 'utf8');
    for (const { name } of methods) {
      expect(stdout).toMatch(new RegExp(`^(not possible: )?${name}[ :]`, 'm'));
      expect(page).toMatch(new RegExp(`<(h2|dt)>${name}</`));
    }
    expect(stdout).toMatch(/^method +answer +p +ms +tokens by layer\nnone /);
    expect(stdout.endsWith(`${png}\n${html}\n`)).toBe(true);
    const { width, height } = await decodeImage(png);
    const side = 288; // 96 pixels, three times
    expect(width).toBe(4 * (side + 12) + 12);
    expect(height).toBe(Math.ceil(methods.length / 4) * (28 + side + 3 * 22 + 12) + 12);

    // All that the page shows is in it.
    expect(page).toContain('What is &lt;in&gt; the picture?');
    expect(page).not.toMatch(/<script|<link|src="(?!data:image\/png;base64,)|url\(|https?:/);
    expect(page.match(/<img /g)!.length).toBe(1 + page.match(/<figure>/g)!.length);
    expect(page).toContain('36 kept');
  });

  test('what the model cannot have is listed with its reason', async () => {
    const out = path.join(folder, 'some.png');
    const stdout = await vtcOk(...base, '--methods', 'vtc-cls:layers=9,uniform', '--out', out);
    expect(stdout).toMatch(/^not possible: vtc-cls:layers=9: --layers 9: the ensemble ends/m);
    expect(stdout).toMatch(/^uniform /m);
    expect((await decodeImage(out)).width).toBe(3 * (288 + 12) + 12);
  });

  test.each([
    [['--methods', 'fast'], /^unknown method "fast": choose /],
    [['--keep', '0'], /^--keep 0: keeps 0 of 144 patches/],
    [['--out', 'sheet.jpg'], '--out sheet.jpg: what is written is PNG, so name it .png'],
    [['--new-tokens', '900'], /^the prompt takes \d+ positions and 900 new tokens are asked for/],
  ])('%j is refused', async (flags, message) => {
    expectRefusal(await vtc(...base, '--out', path.join(folder, 'refused.png'), ...flags), message);
  });
});
