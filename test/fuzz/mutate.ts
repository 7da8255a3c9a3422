/** Damage, drawn: to bytes, and to a value of JSON where its fields are known. */
import { pick, type Random } from '../../src/random.ts';

/** Some bytes changed, cut out, doubled or put in; or the end cut off. */
export function mutateBytes(random: Random, bytes: Buffer): Buffer {
  let out = Buffer.from(bytes);
  for (let times = 1 + Math.floor(random() * 3); times > 0; times--) {
    const at = Math.floor(random() * (out.length + 1));
    const end = Math.min(out.length, at + 1 + Math.floor(random() * 8));
    const noise = Buffer.from(Array.from({ length: end - at }, () => Math.floor(random() * 256)));
    const [before, piece, after] = [out.subarray(0, at), out.subarray(at, end), out.subarray(end)];
    out = Buffer.concat(
      pick(random, [
        [before, noise, after],
        [before, after],
        [before, piece, piece, after],
        [before, noise, piece, after],
        [before],
        [
          before,
          Buffer.from(pick(random, ['\n', '"', '{', '\0', '\u2028', '\\u0000', '9'.repeat(30)])),
          after,
        ],
      ]),
    );
  }
  return out;
}

const oddities: unknown[] = [
  null, true, false, 0, -1, 1, 2, 1.5, 1e9, 4294967296, 2 ** 53, -(2 ** 31), 1e308, '', 'x', '\u001b[31m', 'é\uD83D',
  [], {}, [[]], [null], { a: 1 }, 'F32', 'default', '__proto__', '9'.repeat(400),
]; // prettier-ignore

/** One to three places of a value changed: a field another value, gone, twice as deep, or under another name. */
export function mutateJson(random: Random, value: unknown): unknown {
  let out: unknown = structuredClone(value);
  for (let times = 1 + Math.floor(random() * 3); times > 0; times--) out = changeOne(random, out);
  return out;
}

function changeOne(random: Random, value: unknown): unknown {
  const inside = typeof value === 'object' && value !== null && Object.keys(value).length > 0;
  if (!inside || random() < 0.15) return structuredClone(pick(random, oddities));
  const record = value as Record<string, unknown>;
  const key = pick(random, Object.keys(record));
  const kind = random();
  if (kind < 0.1) {
    if (Array.isArray(value)) value.splice(Number(key), 1);
    else delete record[key];
  } else if (kind < 0.2) record[`${key}_`] = record[key];
  else if (kind < 0.25) record[key] = { [key]: record[key] };
  else if (kind < 0.3) record[key] = [record[key], record[key]];
  else record[key] = changeOne(random, record[key]);
  return value;
}
