/** The prompt of `vtc repl`, its lines given through a pipe. */
import { expect, test } from 'vitest';
import { expectRefusal, vtc, vtcWith } from '../support/cli.ts';

const type = async (...lines: string[]) => {
  const { code, stdout, stderr } = await vtcWith(
    { input: lines.map((line) => `${line}\n`).join('') },
    'repl',
    '--backend',
    'wasm',
  );
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  return stdout.split('vtc> ').slice(1);
};

test('a scene, a method, a question, what was seen, and the functions of the API', async () => {
  const replies = await type(
    'const questions = scene(3)',
    "method('fastervlm', { keep: 13 })",
    'const said = await ask(questions[4].question)',
    '[questions[4], said.answer, said.kept.length, said.scores.length, said.promptTokens]',
    'const seen = runClipVision(model.vision, pixels(), { clsAttention: [3], hidden: [4] })',
    'tf.topk(scoreByCls(seen.clsAttention.get(3)), 13).indices.arraySync()[0].sort((a, b) => a - b).join() === said.kept.join()',
    'await show(said.scores)',
    'await show(said.kept)',
  );
  expect(replies[2]).toMatch(/compress\.matrix .* s = the mean over heads; its top 13 stay\n/);
  expect(replies[3]).toMatch(
    /how many shapes are there \?.*'one' ?\},\s+'(one|two)',\s+13,\s+100,\s+22\s+\]/s,
  );
  expect(replies[5]).toBe('true\n');
  const map = replies[6].split('\n').slice(0, 10);
  expect(map.join('')).toMatch(/^[ .:=+*#%@-]+$/);
  expect(map.join('')).toContain('@@');
});

test('a mistake is one sentence, and the prompt goes on', async () => {
  const replies = await type(
    'scene(-1)',
    'await show([1, 2.5])',
    "method('nope')",
    "await ask('what ?')",
    "method('vtc-cls', { layers: 9 })",
    "await ask('what ?')",
    '1 + 1',
  );
  expect(replies[0]).toContain('error: scene(-1): should be 0 or more');
  expect(replies[1]).toContain('error: show: 2 numbers are neither one for each of 100 patches nor places');
  expect(replies[3]).toContain('error: unknown method "nope": choose none or vtc-cls');
  expect(replies[5]).toContain(
    'error: --layers 9: the ensemble ends at layer 3, so it can have 1 to 4 layers',
  );
  for (const reply of replies) expect(reply).not.toContain('    at '); // no stack
  expect(replies[6]).toBe('2\n');
});

test('what is no LLaVA is refused before the prompt', async () => {
  expectRefusal(await vtc('repl', '--model', 'weights/clip'), /a LLaVA is needed here$/);
});
