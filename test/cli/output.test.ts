/** What the command line says where it cannot speak, and of what it was told. */
import { spawnSync } from 'node:child_process';
import { existsSync, openSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { expectRefusal, expectUsageError, program, vtc } from '../support/cli.ts';

const noFull = existsSync('/dev/full') ? '' : 'there is no /dev/full here';

describe.concurrent('the command line', () => {
  test.skipIf(noFull)(`a full standard output is one sentence ${noFull}`, () => {
    for (const args of [['methods'], ['--help'], ['inspect', 'weights/llava']]) {
      const { status, stderr } = spawnSync(process.execPath, [program, ...args], {
        cwd: path.join(import.meta.dirname, '..', '..'),
        stdio: ['ignore', openSync('/dev/full', 'w'), 'pipe'],
        encoding: 'utf8',
      });
      expect({ status, stderr }, args.join(' ')).toEqual({
        status: 1,
        stderr: 'error: cannot write to standard output: no space is left on the device\n',
      });
    }
  });

  test.each([
    [['run', '--image', '', '--question', 'What?'], '--image <file...>'],
    [['eval', '--merge', 'a', '', '--out', 'b'], '--merge <dir...>'],
    [['inspect', ''], '<dir>'],
  ])('%j names no file or folder', async (args, option) => {
    expectRefusal(await vtc(...args), `${option} is empty: name a file or folder`);
  });

  test('what it quotes of the command line stays on one line', async () => {
    expectUsageError(await vtc('a\nb\u001b[31m'), "unknown command 'a\\nb\\u001b[31m'");
    expectUsageError(await vtc('rnu'), "unknown command 'rnu' (Did you mean run?)");
  });
});
