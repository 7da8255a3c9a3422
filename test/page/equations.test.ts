/** The page shows lines of the source: of the source as it is. */
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, test } from 'vitest';
import { renderEquations } from '../../src/page/build/equations.ts';

test('every step has its line, and the build fails when one is gone', async () => {
  const equations = await renderEquations('src');
  for (const { place, code, formula } of equations) {
    const [file, line] = place.split(':');
    const text = (await readFile(path.join('src', file), 'utf8')).split('\n')[Number(line) - 1].trim();
    const shown = code
      .replaceAll(/<[^>]+>/g, '')
      .replaceAll('&#x3C;', '<')
      .replaceAll('&#x26;', '&')
      .replaceAll('&gt;', '>');
    expect(shown).toBe(text);
    expect(formula).toContain('<math');
  }
  const copy = await mkdtemp(path.join(tmpdir(), 'vtc-cls-src-'));
  try {
    await cp('src', copy, { recursive: true });
    const file = path.join(copy, 'compress/score.ts');
    await writeFile(
      file,
      (await readFile(file, 'utf8')).replace('tf.mean(clsAttention, 1)', 'tf.sum(clsAttention, 1)'),
    );
    await expect(renderEquations(copy)).rejects.toThrow(
      'src/compress/score.ts has 0 lines with "return tf.mean(clsAttention, 1);"',
    );
  } finally {
    await rm(copy, { recursive: true });
  }
});
