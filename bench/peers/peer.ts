/** Other implementations of the same work, driven from the same run. */
import { spawn } from 'node:child_process';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { UserError } from '../../src/errors.ts';
import type { RunResult } from '../harness.ts';

/** A peer as data: a Python program that speaks protocol.py's lines. */
export interface PeerKind {
  name: string;
  title: string;
  script: string;
  /** How its attention is computed, the plain way first; each is a runner of its own. */
  variants: readonly string[];
}

export const peerKinds: readonly PeerKind[] = [
  { name: 'torch', title: 'PyTorch', script: 'torch_peer.py', variants: ['eager', 'sdpa'] },
  { name: 'onnxruntime', title: 'ONNX Runtime', script: 'onnx_peer.py', variants: [] },
];

/** A long-lived child process that answers one request at a time. */
export interface Peer {
  kind: PeerKind;
  version: string;
  threads: number;
  /** Seconds of processor time it has used. */
  cpuSeconds(): number;
  prepare(key: string, request: Record<string, unknown>): Promise<void>;
  /** @param count how many of the result's last values to hand back */
  run(key: string, variant: string | undefined, count: number): Promise<RunResult>;
  dispose(key: string): Promise<void>;
  close(): void;
}

/**
 * Starts a peer with `$VTC_PYTHON`, or else `python3`.
 * @param pool the file of the weights' pool
 * @throws UserError saying what is missing
 */
export async function startPeer(kind: PeerKind, pool: string): Promise<Peer> {
  const python = process.env['VTC_PYTHON'] ?? 'python3';
  const child = spawn(python, ['-B', path.join(import.meta.dirname, kind.script)], { stdio: 'pipe' });
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
    if (line.done) throw new PeerGone(`the ${kind.title} peer: ${await ended}`);
    const reply = JSON.parse(line.value) as Reply;
    if (reply.error) throw new Error(`the ${kind.title} peer: ${reply.error}`);
    cpuSeconds = reply.cpuSeconds;
    return reply;
  };
  const { version, threads } = await ask({ op: 'hello', pool }).catch(async (error: unknown) => {
    if (!(error instanceof PeerGone)) throw error;
    throw new UserError(
      `no ${kind.title} to compare with (${await ended}): name a Python that has it in VTC_PYTHON`,
    );
  });
  return {
    kind,
    version,
    threads,
    cpuSeconds: () => cpuSeconds,
    prepare: async (key, request) => void (await ask({ ...request, op: 'prepare', key })),
    run: (key, variant, count) => ask({ op: 'run', key, variant: variant ?? null, count }),
    dispose: async (key) => void (await ask({ op: 'dispose', key })),
    close: () => child.stdin.end(),
  };
}

class PeerGone extends Error {}

const lastLine = (text: string): string => text.trim().split('\n').at(-1) ?? '';
