import fc from 'fast-check';
import { expect, test } from 'vitest';
import { decodeLatin1, decodeUtf8 } from '../src/bytes.ts';

const pieces = fc.oneof(
  fc.string({ unit: 'grapheme' }).map((text) => Buffer.from(text)),
  fc.constantFrom('\uFEFF', '\uFFFD').map((text) => Buffer.from(text)),
  fc.uint8Array({ maxLength: 3 }).map((bytes) => Buffer.from(bytes)),
);

test('text that is UTF-8 is itself; of other bytes the first bad one is told', () => {
  fc.assert(
    fc.property(fc.array(pieces), (parts) => {
      const bytes = Buffer.concat(parts);
      let at: number;
      try {
        expect(Buffer.from(decodeUtf8(bytes, 'x'))).toEqual(bytes);
        return;
      } catch (error) {
        const told = /^x is not UTF-8: byte (\d+) is 0x([0-9a-f]{2})$/.exec((error as Error).message);
        if (!told) throw error;
        at = Number(told[1]);
        expect(bytes[at]).toBe(Number.parseInt(told[2], 16));
      }
      // All before it is text, and what begins there is none, however it goes on.
      expect(Buffer.from(decodeUtf8(bytes.subarray(0, at), 'x'))).toEqual(bytes.subarray(0, at));
      expect(() => decodeUtf8(bytes.subarray(at), 'x')).toThrow('byte 0 is');
    }),
  );
});

test('Latin-1 is a character a byte, also from 0x80 to 0x9f', () => {
  const all = Uint8Array.from({ length: 256 }, (_, byte) => byte);
  expect(decodeLatin1(all)).toBe(Buffer.from(all).toString('latin1'));
});
