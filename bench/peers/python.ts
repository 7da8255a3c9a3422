/** A Python program in a process of its own that answers lines of JSON, one request at a time. */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { UserError } from '../../src/errors.ts';

export interface PythonPeer {
  /** @throws UserError for what the program says went wrong, {@link PeerGone} where it has ended */
  ask<Reply>(request: Record<string, unknown>): Promise<Reply>;
  /** Ends it, even at work. */
  kill(): void;
  /** Lets it end when it has answered. */
  close(): void;
}

/** It has ended. */
export class PeerGone extends UserError {
  /** What it said last. */
  readonly reason: string;
  constructor(title: string, reason: string) {
    super(`the ${title} peer: ${reason}`);
    this.reason = reason;
  }
}

/**
 * Starts a program with `$VTC_PYTHON`, or else `python3`.
 * @param title of what it runs, in messages
 */
export function startPython(script: string, title: string): PythonPeer {
  const python = process.env['VTC_PYTHON'] ?? 'python3';
  const child = spawn(python, ['-B', script], { stdio: 'pipe' });
  let complaint = '';
  child.stderr.on('data', (text: Buffer) => (complaint = (complaint + text.toString()).slice(-4000)));
  child.stdin.on('error', () => undefined); // a child that died is reported by its exit
  const ended = new Promise<string>((resolve) => {
    child.on('error', (error) => resolve(`${python} does not start: ${error.message}`));
    child.on('close', () => resolve(lastLine(complaint) || 'it ended without a word'));
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    ask: async <Reply>(request: Record<string, unknown>) => {
      child.stdin.write(`${JSON.stringify(request)}\n`);
      const line = await lines.next();
      if (line.done) throw new PeerGone(title, await ended);
      const reply = JSON.parse(line.value) as Reply & { error?: string };
      if (reply.error) throw new UserError(`the ${title} peer: ${reply.error}`);
      return reply;
    },
    kill: () => child.kill(),
    close: () => child.stdin.end(),
  };
}

/**
 * The first request, which shows whether there is such a program.
 * @throws UserError saying what is missing
 */
export async function greet<Reply>(
  peer: PythonPeer,
  title: string,
  request: Record<string, unknown>,
): Promise<Reply> {
  try {
    return await peer.ask<Reply>(request);
  } catch (error) {
    if (!(error instanceof PeerGone)) throw error;
    throw new UserError(
      `no ${title} to compare with (${error.reason}): name a Python that has it in VTC_PYTHON`,
    );
  }
}

const lastLine = (text: string): string => text.trim().split('\n').at(-1) ?? '';
