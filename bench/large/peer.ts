/** Hugging Face's LLaVA in a process of its own; see llava_peer.py. */
import path from 'node:path';
import { greet, startPython } from '../peers/python.ts';
import type { Taken } from './answer.ts';

const title = 'Hugging Face';

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
  const python = startPython(path.join(import.meta.dirname, 'llava_peer.py'), title);
  const { loading, version } = await greet<Pick<LlavaPeer, 'loading' | 'version'>>(python, title, {
    op: 'load',
    dir,
    dtype,
  });
  return {
    version,
    loading,
    answer: (request) => python.ask({ op: 'answer', ...request }),
    close: () => python.kill(),
  };
}
