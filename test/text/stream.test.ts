import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createTextStream } from '../../src/text/stream.ts';
import type { Tokenizer } from '../../src/text/tokenizer.ts';
import { layoutNames, layouts, makeTokenizer, readCases } from '../support/tokenizers.ts';

/** What a stream gives, push by push, its end last. */
function streamAll(tokenizer: Tokenizer, ids: readonly number[], prompt?: readonly number[]): string[] {
  const stream = createTextStream(tokenizer, prompt);
  const pushed = ids.map((id) => stream.push(id));
  return [...pushed, stream.end()];
}

/** Text of all kinds of characters: of one to four bytes, joined ones, spaces and newlines. */
const anyText = fc
  .array(
    fc.oneof(
      fc.string({ unit: 'binary', maxLength: 4 }),
      fc.constantFrom(' ', '  ', '\n', 'the ', 'é', '你好', '😀', '👩‍👩‍👧', 'e\u0301', '🇫🇷', 'elephant'),
    ),
    { maxLength: 8 },
  )
  .map((parts) => parts.join(''))
  .filter((text) => !text.includes('\uFFFD'));

describe.each(layoutNames)('a text stream, %s', (layout) => {
  const { bos, vocabulary } = layouts[layout];
  const anyIds = fc.array(fc.nat({ max: vocabulary - 1 }), { maxLength: 30 });

  test('gives, altogether, the decoded whole', async () => {
    const tokenizer = await makeTokenizer(layout);
    const { encode, decode } = await readCases(layout);
    for (const ids of [...encode.map((c) => c.idsWithSpecial), ...decode.map((c) => c.ids)]) {
      expect(streamAll(tokenizer, ids).join('')).toBe(tokenizer.decode(ids));
    }
    fc.assert(
      fc.property(anyIds, (ids) => {
        expect(streamAll(tokenizer, ids).join('')).toBe(tokenizer.decode(ids));
      }),
    );
  });

  test('goes on after a prompt as if both had been decoded together', async () => {
    const tokenizer = await makeTokenizer(layout);
    fc.assert(
      fc.property(anyText, anyIds, (text, ids) => {
        const prompt = tokenizer.encode(text);
        // What was given of a run of bytes stays given, though its next byte may undo all of it.
        const next = ids.find((id) => tokenizer.isByte(id) || tokenizer.decode([id]) !== ''); // special tokens end no run
        fc.pre(!(tokenizer.isByte(prompt.at(-1)!) && next !== undefined && tokenizer.isByte(next)));
        const given = streamAll(tokenizer, ids, prompt).join('');
        expect(tokenizer.decode(prompt) + given).toBe(tokenizer.decode([...prompt, ...ids]));
      }),
    );
  });

  test('never gives half a character', async () => {
    const tokenizer = await makeTokenizer(layout);
    fc.assert(
      fc.property(anyText, (text) => {
        const parts = streamAll(tokenizer, tokenizer.encode(text));
        expect(parts.join('')).toBe(tokenizer.decode(tokenizer.encode(text)));
        for (const part of parts) {
          expect(part.isWellFormed()).toBe(true); // no half of a surrogate pair
          expect(part).not.toContain('\uFFFD');
        }
      }),
    );
    fc.assert(
      fc.property(anyIds, (ids) => {
        for (const part of streamAll(tokenizer, ids)) expect(part.isWellFormed()).toBe(true);
      }),
    );
  });

  test('takes back no byte of a run that turns out not to be UTF-8', async () => {
    const tokenizer = await makeTokenizer('spm-bpe');
    const bytes = [0x0a, 0xe2, 0x82].map((byte) => 3 + byte); // after three special tokens
    const [before, after] = ['ok', ' yes'].map((text) => tokenizer.encode(text).slice(1));
    const parts = streamAll(tokenizer, [...before, ...bytes, ...after]);
    expect(parts.join('')).toBe('ok\uFFFD\uFFFD\uFFFD  yes'); // Rust: one for each byte
    expect(streamAll(tokenizer, [...before, bytes[0], ...after]).join('')).toBe('ok\n  yes');
    const special = 0; // has no text, and ends no run
    expect(streamAll(tokenizer, [...before, bytes[0], special, bytes[1], ...after]).join('')).toBe(
      'ok\uFFFD\uFFFD  yes',
    );
  });

  test('keeps the space before a word that follows a prompt', async () => {
    const tokenizer = await makeTokenizer(layout);
    const prompt = tokenizer.encode('the picture');
    const [space] = tokenizer.encode('the picture is').slice(prompt.length);
    expect(createTextStream(tokenizer, prompt).push(space)).toBe(' is');
  });

  test('holds a character back until its last byte', async () => {
    const tokenizer = await makeTokenizer(layout);
    const ids = tokenizer.encode('a😀').slice(1);
    const given = streamAll(tokenizer, ids, [bos]);
    expect(given.join('')).toBe('a😀');
    expect(given.filter((part) => part !== '')).toEqual(['a', '😀']);
    expect(ids.length).toBeGreaterThan(4);
    // Cut off before the last byte: what is there comes at the end, and says that it is broken.
    const cut = streamAll(tokenizer, ids.slice(0, -1), [bos]);
    expect(cut.slice(0, -1).join('')).toBe('a');
    expect(cut.at(-1)).toBe(tokenizer.isByte(ids.at(-1)!) ? '\uFFFD'.repeat(3) : '\uFFFD'); // as Rust decodes
  });
});
