/** Hugging Face's LLaVA in a process of its own; see llava_peer.py. */
import { spawn } from 'node:child_process';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { UserError } from '../../src/errors.ts';
import type { Taken } from './answer.ts';

export interface LlavaPeer {
  version: string;
  loading: Taken;
  answer(request: {
    tokens: number;
    written: number;
    text: number;
    pixels: string;
  }): Promise<Record<'seeing' | 'reading' | 'writing', Taken> & { peakBytes: number }>;
  close(): void;
}

/** @throws UserError where Python has no transformers, or the model no room */
export async function startLlavaPeer(dir: string, dtype: string): Promise<LlavaPeer> {
  const python = process.env['VTC_PYTHON'] ?? 'python3';
  const script = path.join(import.meta.dirname, 'llava_peer.py');
  const child = spawn(python, ['-B', script], { stdio: 'pipe' });
  let complaint = '';
  child.stderr.on('data', (text: Buffer) => (complaint = (complaint + text.toString()).slice(-4000)));
  child.stdin.on('error', () => undefined);
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  child.on('error', () => undefined);
  const ask = async (request: object) => {
    child.stdin.write(`${JSON.stringify(request)}\n`);
    const line = await lines.next();
    if (line.done) {
      const why = complaint.trim().split('\n').at(-1) ?? 'it ended without a word';
      throw new UserError(
        `no Hugging Face to compare with (${why}): name a Python that has transformers in VTC_PYTHON`,
      );
    }
    const reply = JSON.parse(line.value) as { error?: string };
    if (reply.error) throw new UserError(`Hugging Face: ${reply.error}`);
    return reply;
  };
  const { loading, version } = (await ask({ op: 'load', dir, dtype })) as Pick<
    LlavaPeer,
    'loading' | 'version'
  >;
  return {
    version,
    loading,
    answer: async (request) =>
      (await ask({ op: 'answer', ...request })) as Awaited<ReturnType<LlavaPeer['answer']>>,
    close: () => child.kill(),
  };
}
