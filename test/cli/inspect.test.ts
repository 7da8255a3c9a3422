import { cp, readFile, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { stageNames } from '../../src/compress/method.ts';
import { methods } from '../../src/compress/registry.ts';
import {
  makeDemoFiles,
  makeFileFolder,
  makeSubfolder,
  readTensors,
  vtc,
  vtcOk,
  vtcUnread,
} from '../support/cli.ts';
import { golden } from '../support/golden.ts';

const folder = await makeFileFolder();
const { model } = await makeDemoFiles(folder);
const { version } = createRequire(import.meta.url)('../../package.json') as { version: string };

describe.concurrent('inspect', () => {
  test('describes a LLaVA and lists every tensor', async () => {
    const stdout = await vtcOk('inspect', model);
    const weights = await readTensors(path.join(model, 'model.safetensors'));
    expect(stdout).toContain(
      [
        'LLaVA',
        '  vision     6 layers, width 64, 4 heads, MLP 256 quick_gelu; 96 px in patches of 8: 144 patches and [CLS]',
        '  features   hidden[5] of 0..6, strategy default',
        '  projector  mlp2x, 64 to 80, gelu',
        '  decoder    4 layers, width 80, 4 heads (2 key/value) of 20, FFN 216 silu, vocabulary 99, context 512, RoPE 10000 default',
        `${weights.names.length} tensors, 634 k parameters, 2.42 MiB in 1 file`,
        'in memory: 2.42 MiB as float32, 2.42 MiB stored, 1.88 MiB streamed', // of a float32 file
      ].join('\n'),
    );
    const rows = stdout.trimEnd().split('\n').slice(-weights.names.length);
    expect(rows.map((row) => row.split(' ')[0])).toEqual(weights.names);
    const row = rows.find((line) => line.includes('patch_embedding.weight'));
    expect(row).toMatch(/ F32 +\[64, 3, 8, 8\] +48\.0 KiB$/);
  });

  test.each([
    ['llama-rope3', 'decoder', 'F32'],
    ['qwen2', 'decoder', 'BF16'],
    ['clip-model', 'clip', 'F32'],
    ['llava-full-llama3', 'llava', 'F16'],
  ])('--json counts the tensors, parameters and bytes of %s', async (name, kind, dtype) => {
    const json = JSON.parse(await vtcOk('inspect', golden(name), '--json')) as {
      architecture: { kind: string };
      files: string[];
      parameters: number;
      bytes: number;
      tensors: { name: string; dtype: string; shape: number[]; bytes: number }[];
    };
    const file = golden(name, 'model.safetensors');
    const weights = await readTensors(file);
    expect(json.architecture.kind).toBe(kind);
    expect(json.files).toEqual([file]);
    expect(json.tensors.map(({ name, shape }) => [name, shape])).toEqual(
      weights.names.map((tensor) => [tensor, weights.get(tensor).shape]),
    );
    expect(json.parameters).toBe(
      weights.names.reduce((sum, tensor) => sum + weights.get(tensor).values.length, 0),
    );
    expect(json.bytes).toBe(json.tensors.reduce((sum, tensor) => sum + tensor.bytes, 0));
    const main = json.tensors.find((tensor) => tensor.shape.length === 2)!;
    expect(main.dtype).toBe(dtype);
    expect(main.bytes).toBe(main.shape[0] * main.shape[1] * (dtype === 'F32' ? 4 : 2));
  });

  test('weights that do not fit the config: all is told, and then why it will not load, with exit code 1', async () => {
    const other = path.join(await makeSubfolder(folder), 'other');
    await cp(model, other, { recursive: true });
    const file = path.join(other, 'config.json');
    const config = JSON.parse(await readFile(file, 'utf8')) as { text_config: { num_hidden_layers: number } };
    config.text_config.num_hidden_layers++;
    await writeFile(file, JSON.stringify(config));
    for (const json of [[], ['--json']]) {
      const { code, stdout, stderr } = await vtc('inspect', other, ...json);
      expect(stderr).toMatch(
        /^error: the weights in \S+ do not fit its config\.json \(it names more layers than they have\): 9 missing: [^\n]+\n$/,
      );
      expect(code).toBe(1);
      expect(stdout).toContain('language_model.model.layers.3.mlp.up_proj.weight');
    }
  });

  test('describes both towers of a CLIP, or says that one is missing', async () => {
    const [whole, part] = await Promise.all(
      ['clip-model', 'clip-vision'].map((name) => vtcOk('inspect', golden(name))),
    );
    expect(whole.split('\n').slice(0, 3)).toEqual([
      'CLIP',
      '  vision     3 layers, width 24, 3 heads, MLP 48 quick_gelu; 24 px in patches of 6: 16 patches and [CLS]',
      '  text       2 layers, width 16, 2 heads, MLP 32 quick_gelu; vocabulary 60, at most 9 tokens; both towers project to 10',
    ]);
    expect(part.split('\n')[2]).toBe('  text       none: the vision tower alone');
  });

  test('a reader who leaves early is no error', async () => {
    expect(await vtcUnread('inspect', model)).toEqual({ code: 0, stdout: '', stderr: '' });
  });
});

describe.concurrent('the rest', () => {
  test('methods lists all, with paper and options', async () => {
    const stdout = await vtcOk('methods');
    expect(stdout).toMatch(/^none \(before the decoder\)\n/);
    expect(stdout).toContain('vtc-cls (before the decoder)\n');
    expect(stdout).toContain('arXiv 2412.05819\n');
    expect(stdout).toMatch(/^ {2}layers=3 {2}/m);
    expect(stdout).toMatch(/^ {2}ensemble=sum {2}.*: sum, mean, max, min, rank-mean$/m);
    for (const { name, stages, summary } of methods)
      expect(stdout).toContain(`${name} (${stageNames[stages[0]]})\n  ${summary}\n`);
  });

  test('doctor says which backends run and which one is chosen', async () => {
    const [found, asked] = await Promise.all([vtc('doctor'), vtc('doctor', '--backend', 'cpu')]);
    expect([found.code, asked.code]).toEqual([0, 0]); // on standard error a Vulkan driver may talk
    const [auto, cpu] = [found.stdout, asked.stdout];
    expect(auto).toMatch(new RegExp(`^node ${process.version} on `));
    expect(auto).toMatch(/^wasm {8}runs /m);
    expect(auto).toMatch(/^cpu {9}runs /m);
    expect(auto).toMatch(/^tensorflow {2}(runs|does not run) +\S/m);
    expect(auto).toMatch(/^chosen: (tensorflow|wasm), the first that loads and computes known values$/m);
    expect(cpu).toMatch(/^chosen: cpu, asked for by name$/m);
  });

  test('--version and --help', async () => {
    expect(await vtcOk('--version')).toBe(`${version}\n`);
    const [all, one] = await Promise.all([vtcOk('--help'), vtcOk('run', '--help')]);
    for (const name of ['run', 'trace', 'generate', 'classify', 'inspect', 'methods', 'doctor', 'demo']) {
      expect(all).toMatch(new RegExp(`^  ${name} `, 'm'));
    }
    for (const option of [
      '--image',
      '--keep',
      '--layers',
      '--ensemble',
      '--positions',
      '--seed',
      '--backend',
    ]) {
      expect(one).toContain(`${option} <`);
    }
  });

  test('no command at all prints the help and fails', async () => {
    const { code, stdout, stderr } = await vtc();
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toMatch(/^Usage: vtc /);
  });
});
