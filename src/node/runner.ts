/** Runs what came with a stranger's folder, within bounds of time and memory. */
import { createRequire } from 'node:module';
import vm from 'node:vm';
import { MessageChannel, receiveMessageOnPort, Worker, type MessagePort } from 'node:worker_threads';
import { overLimit, withLineFeeds, type Runner } from '../text/runner.ts';

/** What one rendering may take. A chat template is a program, and it came with a stranger's folder. */
const limits = { milliseconds: 750, megabytes: 64, length: 1_000_000 };
const startMilliseconds = 30_000; // the thread's own start, which a busy machine delays

/**
 * The thread's program, as text: a file of its own would be TypeScript here and JavaScript in a package. `range` is
 * bounded as jinja2's sandbox bounds it, and no value may outgrow `length`, for a single huge allocation ends the
 * whole process, whatever the thread's heap is limited to.
 */
const program = `
const { workerData: { port, signal, jinja, length } } = require('node:worker_threads');
const { Environment, Interpreter, Template } = require(jinja);
const range = (start, stop, step = 1) => {
  const [from, to] = stop === undefined ? [0, start] : [start, stop];
  const count = Math.max(0, Math.ceil((to - from) / step));
  if (!(count <= 100000)) throw new Error('its range is too big: at most 100000 numbers');
  return Array.from({ length: count }, (_, i) => from + i * step);
};
const set = Environment.prototype.set;
Environment.prototype.set = function (name, value) {
  return set.call(this, name, name === 'range' && typeof value === 'function' ? range : value);
};
const evaluate = Interpreter.prototype.evaluate;
Interpreter.prototype.evaluate = function (...args) {
  const result = evaluate.apply(this, args);
  if (result?.value?.length > length) throw new Error('it makes a value of more than ' + length + ' items');
  return result;
};
const known = new Map();
const parse = (source) => {
  if (!known.has(source)) { known.clear(); known.set(source, new Template(source)); }
  return known.get(source);
};
const answer = (message) => {
  port.postMessage(message);
  Atomics.store(signal, 0, 1);
  Atomics.notify(signal, 0);
};
port.on('message', ({ source, values }) => {
  try {
    answer({ text: parse(source).render(values) });
  } catch (error) {
    answer({ error: error instanceof Error ? error.message : String(error) });
  }
});
answer({ text: 'ready' });
`;

/** The core's readers take it, wherever this room calls them. */
export const bounded: Runner = { render: renderTemplate, withinTime };

interface Renderer {
  worker: Worker;
  port: MessagePort;
  signal: Int32Array;
}
type Answer = { text: string } | { error: string };

let renderer: Renderer | undefined;

/**
 * Renders a Jinja template as `transformers` does, within bounds of time and memory: in a thread that is waited for,
 * and ended where it does not answer.
 * @throws Error saying what is wrong with the template
 */
function renderTemplate(source: string, values: Record<string, unknown>): string {
  renderer ??= startRenderer();
  const { port, signal } = renderer;
  Atomics.store(signal, 0, 0);
  port.postMessage({ source: withLineFeeds(source), values });
  const answer = awaitAnswer(renderer, limits.milliseconds);
  if (!answer) {
    stopRenderer();
    const message = `it does not end within ${limits.milliseconds / 1000} s and ${limits.megabytes} MB`;
    throw new Error(message, { cause: overLimit });
  }
  if ('error' in answer) throw new Error(answer.error);
  return answer.text;
}

function startRenderer(): Renderer {
  const { port1: port, port2 } = new MessageChannel();
  const signal = new Int32Array(new SharedArrayBuffer(4));
  const jinja = createRequire(import.meta.url).resolve('@huggingface/jinja');
  const worker = new Worker(program, {
    eval: true,
    execArgv: [], // no loader of TypeScript: it would take longer than all the rest
    workerData: { port: port2, signal, jinja, length: limits.length },
    transferList: [port2],
    resourceLimits: { maxOldGenerationSizeMb: limits.megabytes, maxYoungGenerationSizeMb: 16 },
    stderr: true,
  });
  worker.unref();
  port.unref();
  worker.on('error', () => undefined); // told by the answer that does not come
  const started = { worker, port, signal };
  if (!awaitAnswer(started, startMilliseconds)) throw new Error('the thread that renders it does not start');
  return started;
}

function awaitAnswer({ port, signal }: Renderer, milliseconds: number): Answer | undefined {
  Atomics.wait(signal, 0, 0, milliseconds);
  return (receiveMessageOnPort(port) as { message: Answer } | undefined)?.message;
}

function stopRenderer(): void {
  void renderer?.worker.terminate();
  renderer?.port.close();
  renderer = undefined;
}

const milliseconds = 1500;
const sandbox: Record<string, unknown> = vm.createContext({ work: undefined });
const script = new vm.Script('work()');

/** Ends what takes too long: a pattern of a folder's tokenizer can backtrack without end. */
function withinTime<T>(work: () => T): T {
  const outer = sandbox['work'];
  sandbox['work'] = work;
  try {
    return script.runInContext(sandbox, { timeout: milliseconds }) as T;
  } catch (error) {
    if ((error as NodeJS.ErrnoException | undefined)?.code !== 'ERR_SCRIPT_EXECUTION_TIMEOUT') throw error;
    throw new Error(`it does not end within ${milliseconds / 1000} s`, { cause: error });
  } finally {
    sandbox['work'] = outer;
  }
}
