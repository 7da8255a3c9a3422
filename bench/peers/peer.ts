/** Other implementations of the same work, driven from the same run. */
import path from 'node:path';
import type { RunResult } from '../harness.ts';
import { greet, startPython } from './python.ts';

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
  const python = startPython(path.join(import.meta.dirname, kind.script), kind.title);
  type Reply = { version: string; threads: number; cpuSeconds: number } & RunResult;
  const { version, threads } = await greet<Reply>(python, kind.title, { op: 'hello', pool });
  let cpuSeconds = 0;
  const ask = async (request: Record<string, unknown>): Promise<Reply> => {
    const reply = await python.ask<Reply>(request);
    cpuSeconds = reply.cpuSeconds;
    return reply;
  };
  return {
    kind,
    version,
    threads,
    cpuSeconds: () => cpuSeconds,
    prepare: async (key, request) => void (await ask({ ...request, op: 'prepare', key })),
    run: (key, variant, count) => ask({ op: 'run', key, variant: variant ?? null, count }),
    dispose: async (key) => void (await ask({ op: 'dispose', key })),
    close: () => python.close(),
  };
}
