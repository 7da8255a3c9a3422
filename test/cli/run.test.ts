import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { decodeImage } from '../../src/node/decode.ts';
import { expectRefusal, makeDemoFiles, makeFileFolder, vtc, vtcOk, vtcWith } from '../support/cli.ts';

const folder = await makeFileFolder();
const { model, scene } = await makeDemoFiles(folder);

interface Answer {
  answer: string;
  tokens: number[];
  method: string;
  options: Record<string, unknown>;
  positions: string;
  patches: number;
  budget: number;
  kept: number[];
  scores?: number[];
  promptTokens: number;
  layerTokens: number[];
  prefillFlops: number;
  kvCacheBytes: number;
  steps: { name: string; axes: string; shape: number[]; milliseconds: number }[];
  backend: { name: string };
}

const base = ['run', '--model', model, '--image', scene, '--question', 'What is it?', '--new-tokens', '5'];
const asked = new Map<string, Promise<Answer>>(); // each question is asked once
function ask(...rest: string[]): Promise<Answer> {
  const key = rest.join(' ');
  const answer = asked.get(key) ?? askAnew(...rest);
  asked.set(key, answer);
  return answer;
}
const askAnew = async (...rest: string[]) => JSON.parse(await vtcOk(...base, '--json', ...rest)) as Answer;

/** What an answer consists of, without its times. */
const contentOf = ({ answer, tokens, kept, scores, layerTokens }: Answer) => ({
  answer,
  tokens,
  kept,
  scores,
  layerTokens,
});

const ascending = (values: number[]) => values.every((value, i) => i === 0 || values[i - 1] < value);

/** BOS, then a token a character; the tokenizer puts a space before each part of the text. */
const textTokens = 1 + ' USER: '.length + ' \nWhat is it? ASSISTANT:'.length;

describe.concurrent('run', () => {
  test('--prompt is the whole prompt, --template another way to it', async () => {
    const given = [...base, '--json'].filter((flag, i, all) => ![flag, all[i - 1]].includes('--question'));
    const file = path.join(folder, 'plain.jinja'); // one that knows texts alone, saved on Windows
    await writeFile(
      file,
      "{% for m in messages %}\r\nUSER: {{ m['content'] | trim }} ASSISTANT:\r\n{%- endfor %}",
    );
    const [question, prompt, template, other] = await Promise.all([
      ask(),
      vtcOk(...given, '--prompt', 'USER: <image>\nWhat is it? ASSISTANT:'),
      askAnew('--template', file),
      vtcOk(...given, '--prompt', '<image>\nWhat is it?'),
    ]);
    expect(contentOf(JSON.parse(prompt) as Answer)).toEqual(contentOf(question));
    expect(contentOf(template)).toEqual(contentOf(question));
    expect((JSON.parse(other) as Answer).promptTokens).toBeLessThan(question.promptTokens);
  });

  test('--prompt without the picture’s place, or beside a question, is refused', async () => {
    const given = ['run', '--model', model, '--image', scene, '--prompt'];
    expectRefusal(await vtc(...given, 'What is it?'), /^--prompt has no <image>, /);
    expect(await vtc(...given, '<image> What?', '--question', 'What?')).toMatchObject({
      code: 1,
      stdout: '',
    });
  });

  test('prints every step, the answer, the kept patches and the cost, and saves the heat map', async () => {
    const heatmap = path.join(folder, 'text.png');
    const [stdout, json] = await Promise.all([vtcOk(...base, '--heatmap', heatmap), ask()]);
    const lines = stdout.trimEnd().split('\n');
    expect(lines[0]).toMatch(
      /^ {2}vision\.pixels {11}\[B=1 S=96 S=96 3\]( +\d+\.\d ms)? +the picture resized, cropped and normalised$/,
    );
    const own = lines.find((line) => line.startsWith('  compress.matrix'));
    expect(own).toContain('s = sum over layers 2, 3, 4 of the mean over heads; its top 36 stay');
    expect(lines.slice(json.steps.length)).toEqual([
      `answer: ${json.answer}`,
      `kept 36 of 144 patches: ${json.kept.join(' ')}`,
      expect.stringMatching(/^decoder: 68 prompt tokens, 44\.6 MFLOPs to read them, 85\.0 KiB of KV cache$/),
      `heat map: ${heatmap}`,
    ]);
    for (const [i, { name }] of json.steps.entries()) expect(lines[i]).toContain(`  ${name} `);
    expect((await decodeImage(heatmap)).width).toBe(3 * 300 + 12);
  });

  test('--quiet prints the answer and nothing else', async () => {
    const [stdout, { answer }] = await Promise.all([vtcOk(...base, '--quiet'), ask()]);
    expect(stdout).toBe(`${answer}\n`);
  });

  test('a terminal with colours sees picture, scores and what stays; a pipe does not', async () => {
    const [plain, { stdout: coloured }] = await Promise.all([
      vtcOk(...base),
      vtcWith({ env: { FORCE_COLOR: '3', NO_COLOR: '' } }, ...base),
    ]);
    expect(plain).not.toContain('\u001b');
    const rows = coloured.split('\n').filter((line) => line.includes('▀'));
    expect(rows).toHaveLength(13); // 80 columns for three squares: 25 each, two rows of pixels a line
    for (const row of rows) expect(row.match(/▀/g)).toHaveLength(3 * 25);
    expect(coloured.split('\n').filter((line) => !line.includes('▀')).length).toBe(plain.split('\n').length);
  });

  test('--json is one object that says what was kept and what it cost', async () => {
    const json = await ask();
    expect(json).toMatchObject({
      method: 'vtc-cls',
      options: { layers: 3, ensemble: 'sum' },
      positions: 'contiguous',
      patches: 144,
      budget: 36,
      promptTokens: textTokens + 36,
      layerTokens: Array.from({ length: 4 }, () => textTokens + 36),
      kvCacheBytes: 2 * 4 * 2 * 20 * 4 * (textTokens + 36), // keys and values, L, G, C, bytes
    });
    expect(json.tokens.length).toBeLessThanOrEqual(5);
    expect(json.kept).toHaveLength(36);
    expect(ascending(json.kept)).toBe(true);
    const dropped = json.scores!.filter((_, patch) => !json.kept.includes(patch));
    expect(dropped).toHaveLength(144 - 36);
    expect(Math.min(...json.kept.map((patch) => json.scores![patch]))).toBeGreaterThanOrEqual(
      Math.max(...dropped),
    );
    const n = textTokens + 36;
    const [E, m, kv] = [80, 216, 2 * 20];
    const macs = 2 * n * E * E + 2 * n * E * kv + 2 * n * n * E + 3 * n * E * m; // a layer
    expect(json.prefillFlops).toBe(2 * 4 * macs);
    for (const { axes, shape, milliseconds } of json.steps) {
      expect(axes.split(' ')).toHaveLength(shape.length);
      expect(milliseconds).toBeGreaterThanOrEqual(0);
    }
  });

  test('a count, a ratio and a percentage are one budget, whatever else stays as it was', async () => {
    const byDefault = contentOf(await ask());
    for (const keep of ['36', '0.25', '25.0%']) {
      expect(contentOf(await ask('--keep', keep)), keep).toEqual(byDefault);
    }
  });

  test('method none, all patches, and all at their original places give the same answer', async () => {
    const [none, all, original] = await Promise.all([
      ask('--method', 'none'),
      ask('--keep', '144'),
      ask('--keep', '100%', '--positions', 'original'),
    ]);
    expect(none.kept).toEqual(Array.from({ length: 144 }, (_, patch) => patch));
    expect(none.layerTokens).toEqual(Array.from({ length: 4 }, () => textTokens + 144));
    expect(none.scores).toBeUndefined();
    for (const other of [all, original]) {
      expect(contentOf({ ...other, scores: undefined })).toEqual(contentOf(none));
    }
  });

  test('--positions original moves the tokens, so the answer is another one of the same patches', async () => {
    const [contiguous, original] = await Promise.all([ask(), ask('--positions', 'original')]);
    expect(original.positions).toBe('original');
    expect(original.kept).toEqual(contiguous.kept);
    expect(original.layerTokens).toEqual(contiguous.layerTokens);
    expect(original.tokens).not.toEqual(contiguous.tokens);
  });

  test('--layers and --ensemble are the same options under -o', async () => {
    const [short, long, other] = await Promise.all([
      ask('--layers', '5', '--ensemble', 'min'),
      ask('-o', 'layers=5', '--option', 'ensemble=min'),
      ask(),
    ]);
    expect(long.options).toEqual({ layers: 5, ensemble: 'min' });
    expect(contentOf(long)).toEqual(contentOf(short));
    expect(other.kept).not.toEqual(short.kept);
    expect(short.steps.filter(({ name }) => name.startsWith('vision.clsAttention.'))).toHaveLength(5);
  });

  test('drawing with a seed is drawn again with that seed, and not with another', async () => {
    const warm = ['--temperature', '1.5', '--top-k', '50', '--top-p', '0.95'];
    const draw = (seed: string) => askAnew(...warm, '--seed', seed);
    const [first, again, other, greedy] = await Promise.all([draw('1'), draw('1'), draw('2'), ask()]);
    expect(again.tokens).toEqual(first.tokens);
    expect(other.tokens).not.toEqual(first.tokens);
    expect(first.tokens).not.toEqual(greedy.tokens);
    expect((await ask('--temperature', '1.5', '--top-k', '1', '--seed', '9')).tokens).toEqual(greedy.tokens);
  });

  test('--json tells the positions that a method between the layers gives', async () => {
    expect((await ask('--method', 'fastv', '--new-tokens', '1')).positions).toBe('original');
  });

  test('--backend cpu and wasm say so and agree', async () => {
    const few = ['--new-tokens', '2', '--backend'];
    const [cpu, wasm] = await Promise.all([ask(...few, 'cpu'), ask(...few, 'wasm')]);
    expect([cpu.backend.name, wasm.backend.name]).toEqual(['cpu', 'wasm']);
    expect(cpu.tokens).toEqual(wasm.tokens);
    expect(cpu.kept).toEqual(wasm.kept);
  });
});
