/** Other implementations of the same work, driven from the same run. */
import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { UserError } from '../../src/errors.ts';
import type { RunResult } from '../harness.ts';

/** A long-lived child process that answers one request at a time. */
export interface Peer {
  version: string;
  threads: number;
  /** Seconds of processor time it has used. */
  cpuSeconds(): number;
  /** How its attention is computed; each is a runner of its own. */
  variants: string[];
  prepare(key: string, request: Record<string, unknown>): Promise<void>;
  run(key: string, variant: string, count: number): Promise<RunResult>;
  dispose(key: string): Promise<void>;
  close(): void;
}

const script = path.join(import.meta.dirname, 'torch_peer.py');

/**
 * PyTorch through `$VTC_PYTHON`, or else `python3`.
 * @param pool the file of the weights' pool
 * @throws UserError saying what is missing
 */
export async function startTorch(pool: string): Promise<Peer> {
  const python = process.env['VTC_PYTHON'] ?? 'python3';
  const child = spawn(python, [script], { stdio: ['pipe', 'pipe', 'pipe'] });
  let complaint = '';
  child.stderr.on('data', (text: Buffer) => (complaint = (complaint + text.toString()).slice(-4000)));
  child.stdin.on('error', () => undefined); // a child that died is reported by its exit
  const ended = new Promise<string>((resolve) => {
    child.on('error', (error) => resolve(`${python} does not start: ${error.message}`));
    child.on('close', () => resolve(lastLine(complaint) || 'it ended without a word'));
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  type Reply = { error?: string; version: string; threads: number; cpuSeconds: number } & RunResult;
  let cpuSeconds = 0;
  const ask = async (request: Record<string, unknown>): Promise<Reply> => {
    child.stdin.write(`${JSON.stringify(request)}\n`);
    const line = await lines.next();
    if (line.done) throw new PeerGone(await ended);
    const reply = JSON.parse(line.value) as Reply;
    if (reply.error) throw new Error(`the PyTorch peer: ${reply.error}`);
    cpuSeconds = reply.cpuSeconds;
    return reply;
  };
  const { version, threads } = await ask({ op: 'hello', pool }).catch((error: unknown) => {
    if (!(error instanceof PeerGone)) throw error;
    throw new UserError(
      `no PyTorch to compare with (${error.message}): name a Python that has it in VTC_PYTHON`,
    );
  });
  return {
    version,
    threads,
    cpuSeconds: () => cpuSeconds,
    variants: ['eager', 'sdpa'],
    prepare: async (key, request) => void (await ask({ ...request, op: 'prepare', key })),
    run: (key, attn, count) => ask({ op: 'run', key, attn, count }),
    dispose: async (key) => void (await ask({ op: 'dispose', key })),
    close: () => child.stdin.end(),
  };
}

/** ONNX Runtime is compared with only where it is installed: its own install script downloads a library. */
export function onnxReason(): string {
  try {
    createRequire(import.meta.url).resolve('onnxruntime-node');
    return 'onnxruntime-node is installed, but no model is exported to it yet';
  } catch {
    return 'onnxruntime-node is not installed';
  }
}

class PeerGone extends Error {}

const lastLine = (text: string): string => text.trim().split('\n').at(-1) ?? '';
