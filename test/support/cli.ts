/** The real command line, as built (test/build.ts), and what it leaves behind. */
import { fork, spawn, type ChildProcess } from 'node:child_process';
import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, expect } from 'vitest';
import { createRandom } from '../../src/random.ts';
import { encodePng } from '../../src/node/decode.ts';
import { openSafetensors } from '../../src/node/safetensors.ts';
import { full } from './full.ts';
import { writeRandomLlava } from './random-llava.ts';
import { drawScene } from './simple-scene.ts';

const root = path.join(import.meta.dirname, '..', '..');
export const program = path.join(root, 'dist', 'cli', 'main.js');

export interface CliResult {
  code: number | null;
  stdout: string;
  stderr: string;
}

// Concurrent tests start many commands; a few run at a time.
let free = Math.min(3, availableParallelism());
const waiting: (() => void)[] = [];

/**
 * Runs `vtc` with these arguments: in `npm test` one command after another in a process that stays, for a start is half a
 * second of work; in the full run in a process of its own.
 */
export const vtc = (...args: string[]): Promise<CliResult> => vtcIn({}, ...args);

/** The same with variables of the environment. */
export const vtcIn = (env: Record<string, string>, ...args: string[]): Promise<CliResult> =>
  full ? vtcWith({ env }, ...args) : runNext(args, env);

/** `vtc` in a process of its own, and its end. */
export const vtcAlone = (...args: string[]): Promise<CliResult> => vtcWith({}, ...args);

/** The same with variables of the environment from its start, or a text on standard input. */
export const vtcWith = (given: Given, ...args: string[]): Promise<CliResult> =>
  inTurn(() => run(args, given));

interface Given {
  env?: Record<string, string>;
  input?: string;
  /** Whether anybody reads what is printed. */
  read?: boolean;
}

/** The same from the TypeScript of a checkout, which tsx runs. */
export const vtcFromSource = (...args: string[]): Promise<CliResult> =>
  inTurn(() => run(args, {}, ['--import', 'tsx', path.join(root, 'src', 'cli', 'main.ts')]));

/** The same, for a reader who has closed standard output before anything is written. */
export const vtcUnread = (...args: string[]): Promise<CliResult> => vtcWith({ read: false }, ...args);

let stayed: ChildProcess | undefined;
let last: Promise<unknown> = Promise.resolve();

/** In the process that stays, when those before are done. */
function runNext(args: string[], env: Record<string, string>): Promise<CliResult> {
  const result = last.then(() => runInStayed(args, env));
  last = result.catch(() => undefined);
  return result;
}

function runInStayed(args: string[], env: Record<string, string>): Promise<CliResult> {
  const child = (stayed ??= fork(path.join(import.meta.dirname, 'many-commands.mjs'), {
    cwd: root,
    execArgv: [],
    silent: true,
  }));
  return new Promise((resolve, reject) => {
    const end = (code: number | null) => {
      stayed = undefined;
      reject(new Error(`vtc ${args.join(' ')} ended the process with exit code ${code}`));
    };
    child.once('exit', end).once('message', (result) => {
      child.off('exit', end);
      resolve(result as CliResult);
    });
    child.send({ args, env });
  });
}
afterAll(() => void stayed?.kill());

async function inTurn(start: () => Promise<CliResult>): Promise<CliResult> {
  if (free > 0) free--;
  else await new Promise<void>((go) => waiting.push(go));
  try {
    return await start();
  } finally {
    const next = waiting.shift();
    if (next) next();
    else free++;
  }
}

/** Starts `vtc` and kills it, as by `kill -9`, as soon as a condition holds. */
export async function killWhen(
  args: string[],
  reached: () => Promise<boolean>,
  env: Record<string, string> = {},
): Promise<void> {
  const child = spawn(process.execPath, [program, ...args], {
    cwd: root,
    stdio: 'ignore',
    env: { ...process.env, ...env },
  });
  const ended = new Promise((resolve) => child.on('close', resolve));
  while (child.exitCode === null && !(await reached())) await pause(5);
  expect(child.exitCode, 'it was killed before its end').toBeNull();
  child.kill('SIGKILL');
  await ended;
}

/** In the repository's root, without a terminal. */
function run(
  args: string[],
  { env = {}, input = '', read = true }: Given,
  start = [program],
): Promise<CliResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [...start, ...args], {
      cwd: root,
      env: { ...process.env, ...env },
    });
    child.stdin.on('error', () => undefined).end(input); // who has ended reads no more
    const result: CliResult = { code: null, stdout: '', stderr: '' };
    child.stdout.setEncoding('utf8').on('data', (text: string) => (result.stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (result.stderr += text));
    if (!read) child.stdout.destroy();
    child.on('error', reject);
    child.on('close', (code) => resolve({ ...result, code }));
  });
}

/** `vtc`, which must succeed and say nothing on standard error. @returns standard output */
export const vtcOk = async (...args: string[]): Promise<string> => expectOk(await vtc(...args), args);

/** {@link vtcAlone} likewise. */
export const vtcOkAlone = async (...args: string[]): Promise<string> =>
  expectOk(await vtcAlone(...args), args);

function expectOk({ code, stdout, stderr }: CliResult, args: string[]): string {
  expect({ code, stderr }, args.join(' ')).toEqual({ code: 0, stderr: '' });
  return stdout;
}

/** A refusal is exit code 1, one line on standard error and nothing on standard output. */
export function expectRefusal(result: CliResult, message: string | RegExp): void {
  expect(result.stderr).toMatch(/^error: [^\n]+\n$/);
  expectMessage(result.stderr.slice('error: '.length, -1), message);
  expect(result).toMatchObject({ code: 1, stdout: '' });
}

/** What the parser of options itself refuses ends with a hint in a second line. */
export function expectUsageError(result: CliResult, message: string | RegExp): void {
  expect(result.stderr).toMatch(/^error: [^\n]+\n\(add --help for the options\)\n$/);
  expectMessage(result.stderr.slice('error: '.length, result.stderr.indexOf('\n')), message);
  expect(result).toMatchObject({ code: 1, stdout: '' });
}

function expectMessage(actual: string, message: string | RegExp): void {
  if (typeof message === 'string') expect(actual).toBe(message);
  else expect(actual).toMatch(message);
}

/** A folder for the tests of one file, gone at their end. */
export async function makeFileFolder(): Promise<string> {
  const folder = await mkdtemp(path.join(tmpdir(), 'vtc-cls-cli-'));
  afterAll(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** A new folder inside another. */
export async function makeSubfolder(parent: string): Promise<string> {
  return mkdtemp(path.join(parent, 'sub-'));
}

/** Names of all files below a folder, sorted. */
export async function listFiles(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => !entry.isDirectory())
    .map((entry) => path.relative(folder, path.join(entry.parentPath, entry.name)))
    .sort();
}

export interface DemoFiles {
  model: string;
  scene: string;
}

/** A drawn scene and a LLaVA of random weights: 144 patches, context 512. */
export async function makeDemoFiles(folder: string): Promise<DemoFiles> {
  const [model, scene] = [path.join(folder, 'model'), path.join(folder, 'scene.png')];
  await mkdir(folder, { recursive: true });
  await encodePng(await drawScene(createRandom(8), 192), scene);
  await writeRandomLlava(model, 8);
  return { model, scene };
}

export interface StoredTensor {
  shape: readonly number[];
  values: Float32Array | Int32Array;
}

export interface StoredTensors {
  metadata: Record<string, string>;
  names: string[];
  get: (name: string) => StoredTensor;
}

/** A safetensors file, read whole. */
export async function readTensors(file: string): Promise<StoredTensors> {
  const source = await openSafetensors(file);
  const tensors = new Map<string, StoredTensor>();
  for (const [name, { dtype, shape }] of source.tensors) {
    const values = dtype.startsWith('I') ? await source.readInt32(name) : await source.readFloat32(name);
    tensors.set(name, { shape, values });
  }
  await source.close();
  return {
    metadata: source.metadata,
    names: [...tensors.keys()],
    get: (name) => {
      const tensor = tensors.get(name);
      if (!tensor) throw new Error(`${file} has no tensor ${name}`);
      return tensor;
    },
  };
}
