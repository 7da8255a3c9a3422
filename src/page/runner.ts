/** Keeps what is shown in step with the state: the newest first, the rest when the visitor rests. */
import { effect } from '@preact/signals';
import { proxy, wrap, type Remote } from 'comlink';
import type { How, Refusal, Told } from './engine/engine.ts';
import * as store from './store.ts';
import { answered, change, facts } from './store.ts';
import type { PageBackend } from './backends.ts';
import type { Api, Reply, Site } from './worker.ts';

/** So long nothing may be heard of a worker that was asked something. */
const patience = 15_000;

/** In a page that is one file, its other files; then wasm is the one backend there is. */
export const inside = (globalThis as { vtcFiles?: Record<string, string> }).vtcFiles;

let worker: Worker | undefined;
let remote: Remote<Api> | undefined;
let files: Record<string, Blob> | undefined;

/** The model's worker is gone; whatever was asked of it has no answer. */
class Lost extends Error {}

async function toBlobs(encoded: Record<string, string>): Promise<Record<string, Blob>> {
  const entries = Object.entries(encoded).map(async ([name, base64]) => {
    const type = name.endsWith('.wasm') ? 'application/wasm' : 'application/octet-stream';
    return [name, await (await fetch(`data:${type};base64,${base64}`)).blob()] as const;
  });
  return Object.fromEntries(await Promise.all(entries));
}

/** Starts a worker, and in it the model. The page says what came of it. */
export async function start(backend: PageBackend): Promise<void> {
  worker?.terminate();
  lose('the model is started anew'); // whoever still waits for the old one
  forget();
  store.status.value = { is: 'loading', share: 0 };
  store.trouble.value = undefined;
  store.hasClip.value = false;
  if (inside) files ??= await toBlobs(inside);
  const base = new URL('./', document.baseURI).href;
  const site: Site = { base, files };
  worker = files
    ? new Worker(URL.createObjectURL(new Blob([files['worker.js']], { type: 'text/javascript' })))
    : new Worker(new URL('worker.js', base), { type: 'module' });
  worker.onerror = (event) => lose(`the model’s worker does not run: ${event.message || 'it did not load'}`);
  const started = (remote = wrap<Api>(worker));
  try {
    const onProgress = proxy((share: number) => {
      heard();
      if (store.status.peek().is === 'loading') store.status.value = { is: 'loading', share };
    });
    const opened = await call((api) => api.open(site, backend, onProgress), 60_000);
    if (opened === undefined || remote !== started) return;
    store.status.value = { is: 'ready', backend };
    wake();
  } catch (error) {
    fail(error, started);
  }
}

/** Calls that have no answer yet: how each is given up, and how long it may be silent. */
const waiting = new Map<(lost: Lost) => void, number>();
let silence: ReturnType<typeof setTimeout> | undefined;

/** The worker lives; or there is nothing more to wait for. */
function heard(): void {
  clearTimeout(silence);
  if (waiting.size === 0) return;
  const longest = Math.max(...waiting.values());
  silence = setTimeout(() => lose('the model’s worker has stopped answering'), longest);
}

function lose(why: string): void {
  for (const giveUp of waiting.keys()) giveUp(new Lost(why));
}

/** Asks the worker. @returns undefined where it refused: then the page has said so */
async function call<T>(
  ask: (api: Remote<Api>) => Promise<Reply<T>>,
  patient = patience,
): Promise<T | undefined> {
  const api = remote;
  if (!api) throw new Lost('the model is not running');
  let giveUp!: (lost: Lost) => void;
  const lost = new Promise<never>((_, reject) => (giveUp = reject));
  waiting.set(giveUp, patient);
  heard();
  try {
    const { value, failed, fault } = await Promise.race([ask(api), lost]);
    if (failed === undefined) return value;
    if (fault || store.status.peek().is === 'loading') throw new Error(failed);
    store.trouble.value = failed;
    return undefined;
  } finally {
    waiting.delete(giveUp);
    heard();
  }
}

/** @param asked the worker that failed; of one that another has followed nothing is said */
function fail(error: unknown, asked: Remote<Api> | undefined): void {
  if (asked !== remote) return;
  const why = error instanceof Error ? error.message : String(error);
  worker?.terminate();
  [worker, remote] = [undefined, undefined];
  store.status.value = { is: 'failed', why };
}

/** What has been asked about the picture that the tower has seen. */
const memory = new Map<string, Promise<Told | Refusal | undefined>>();
let seen: unknown;
function forget(): void {
  memory.clear();
  seen = undefined;
}

function ask(question: string, how: How, hurried = false): Promise<Told | Refusal | undefined> {
  const key = JSON.stringify([question, how, hurried]);
  let known = memory.get(key);
  if (!known) {
    known = call((api) => api.ask(question, how, hurried));
    memory.set(key, known);
    known.catch(() => memory.delete(key));
  }
  return known;
}

/** Budgets of the curve: dense where it bends. */
export const budgets = [1, 2, 3, 5, 7, 10, 13, 16, 20, 25, 30, 36, 43, 50, 60, 75, 100];

export const oursOf = (K: number): string => `vtc-cls:layers=${K}`;

let running = false;
let again = false;
/** Something has changed. */
export function wake(): void {
  again = true;
  store.settled.value = false;
  if (!running && store.status.peek().is === 'ready') void run();
}

async function run(): Promise<void> {
  running = true;
  const asked = remote;
  try {
    while (again) {
      again = false;
      await pass(() => again);
    }
    store.settled.value = store.status.peek().is === 'ready';
  } catch (error) {
    fail(error, asked);
  } finally {
    running = false;
  }
}

/** Everything once, for the state as it is now; given up as soon as it has changed. */
async function pass(stale: () => boolean): Promise<void> {
  const { question, K, U, rival, painted, layer, head, pinned } = store.state.peek();
  store.times.value = undefined;
  const picture = store.picture.peek();
  if (picture !== seen) {
    const looked = await call((api) => api.look(picture));
    if (!looked) return;
    memory.clear();
    seen = picture;
    store.shown.value = looked.shown;
    store.maps.value = looked;
    store.lookTime.value = looked.milliseconds;
    store.curves.value = { ours: [], rival: [] };
  }
  const ours = oursOf(K);
  store.told.value = answered(await ask(question, { method: ours, budget: U }));
  if (stale()) return;
  store.uncut.value = answered(await ask(question, { method: 'none', budget: facts.patches }));
  if (stale()) return;
  store.unknown.value = (await call((api) => api.unknownWords(question))) ?? [];
  if (stale()) return;
  store.paintedTold.value = painted.length > 0 ? await ask(question, { patches: painted }) : undefined;
  const patch = pinned ?? store.told.peek()?.stops[0].kept[0] ?? 0;
  store.cell.value = await call((api) => api.explain(layer, Math.max(0, head), patch));
  await rest(100, stale);
  if (stale()) return;
  store.rivalTold.value = await ask(question, { method: rival, budget: U });
  const cut = await call((api) => api.inside(question, { method: ours, budget: U }));
  const whole = await call((api) => api.inside(question, { method: 'none', budget: facts.patches }));
  store.insides.value = {
    cut: cut && !('refused' in cut) ? cut : undefined,
    uncut: whole && !('refused' in whole) ? whole : undefined,
  };
  const curves = { ours: [] as store.Curve, rival: [] as store.Curve };
  for (const budget of budgets) {
    for (const [name, method] of [
      ['ours', ours],
      ['rival', rival],
    ] as const) {
      // prettier-ignore
      if (stale()) return;
      const told = answered(await ask(question, { method, budget }, true));
      if (told) curves[name].push({ U: budget, logs: told.logs });
    }
    store.curves.value = { ...curves };
  }
  const sheet = new Map<string, Told | Refusal>();
  for (const { name } of facts.methods) {
    if (stale()) return;
    const budget = name === 'none' ? facts.patches : U;
    const told = await ask(question, { method: name === 'vtc-cls' ? ours : name, budget }, true);
    if (told) sheet.set(name, told);
    if (sheet.size % 5 === 0) store.sheet.value = new Map(sheet);
  }
  store.sheet.value = sheet;
  await measure(question, ours, U, stale);
}

const rounds = 7;

/** How long both take, in turns; the median tells little of what else the machine does. */
async function measure(question: string, ours: string, U: number, stale: () => boolean): Promise<void> {
  const taken = { cut: [] as number[], uncut: [] as number[] };
  for (let round = 0; round < rounds; round++) {
    for (const [name, how] of [
      ['cut', { method: ours, budget: U }],
      ['uncut', { method: 'none', budget: facts.patches }],
    ] as const) {
      // prettier-ignore
      if (stale()) return;
      const told = answered(await call((api) => api.ask(question, how)));
      if (told) taken[name].push(told.milliseconds);
    }
  }
  const median = (values: number[]) => values.sort((a, b) => a - b)[Math.floor(values.length / 2)];
  store.times.value = { cut: median(taken.cut), uncut: median(taken.uncut) };
}

/** Waits, unless something changes. */
async function rest(milliseconds: number, stale: () => boolean): Promise<void> {
  const until = performance.now() + milliseconds;
  while (!stale() && performance.now() < until) await new Promise((resolve) => setTimeout(resolve, 8));
}

/** From now on what is shown follows the state. */
export function followState(): void {
  effect(() => {
    const { question, K, U, rival, painted, layer, head, pinned } = store.state.value;
    void [store.picture.value, question, K, U, rival, painted, layer, head, pinned];
    wake();
  });
}

/** CLIP's text tower, for methods that read the question. */
export async function addClip(): Promise<boolean> {
  const added = await guard(() => call((api) => api.addClip(), 60_000));
  if (added) {
    store.hasClip.value = true;
    memory.clear();
    wake();
  }
  return added ?? false;
}

export const openOwn = (chosen: Record<string, Blob>) =>
  guard(() => call((api) => api.openOwn(chosen), 120_000));
export const lookOwn = (picture: Parameters<Api['lookOwn']>[0], K: number) =>
  guard(() => call((api) => api.lookOwn(picture, K), 120_000));
export const numTensors = () => guard(() => call((api) => api.numTensors()));

/** The present question many times, under each method in turn: for who looks for leaks. @returns how many failed */
export async function askMany(count: number): Promise<number> {
  const { question } = store.state.peek();
  let failed = 0;
  for (let i = 0; i < count; i++) {
    const method = facts.methods[i % facts.methods.length].name;
    const asked = { method, budget: method === 'none' ? facts.patches : 1 + (i % facts.patches) };
    if ((await guard(() => call((api) => api.ask(question, asked, true)))) === undefined) failed++;
  }
  return failed;
}

/** What goes wrong with what a visitor brings is said; the page goes on. */
async function guard<T>(work: () => Promise<T | undefined>): Promise<T | undefined> {
  store.trouble.value = undefined;
  const asked = remote;
  try {
    return await work();
  } catch (error) {
    if (error instanceof Lost) fail(error, asked);
    else store.trouble.value = error instanceof Error ? error.message : String(error);
    return undefined;
  }
}

/** Picks up what was asked for in another view. */
export const pin = (patch: number): void =>
  change({ pinned: store.state.peek().pinned === patch ? undefined : patch });
