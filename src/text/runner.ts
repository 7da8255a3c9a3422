import { Template } from '@huggingface/jinja';

/**
 * What runs the programs that come with a folder: its chat template is one, and a pattern of its tokenizer can backtrack
 * without end. In Node `node/runner.ts` bounds their time and memory.
 */
export interface Runner {
  /** A Jinja template as `transformers` renders it. @throws Error saying what is wrong with it */
  render: (source: string, values: Record<string, unknown>) => string;
  /** Does a tokenizer's work. @throws what it throws, or an Error where it does not end */
  withinTime: <T>(work: () => T) => T;
}

/** The cause of an error where a rendering took too long. */
export const overLimit = Symbol('over limit');

/** jinja2 does so before all else. */
export const withLineFeeds = (source: string): string => source.replace(/\r\n?/g, '\n');

/** Here and now. Nothing has a clock: what a folder does not end, nobody does. For folders that are known. */
export const inPlace: Runner = {
  render: (source, values) => new Template(withLineFeeds(source)).render(values),
  withinTime: (work) => work(),
};
