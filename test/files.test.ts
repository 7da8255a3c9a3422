import { chmod, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import { checkWritable, makeFolder, readText, writeAtomically, writeText } from '../src/node/files.ts';
import { refusal } from './support/refusal.ts';

const root = await mkdtemp(path.join(tmpdir(), 'vtc-cls-files-'));
afterAll(() => rm(root, { recursive: true, force: true }));
let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(path.join(root, 'case-'));
});
const at = (...names: string[]) => path.join(folder, ...names);

const noProc = existsSync('/proc/self') ? '' : 'there is no /proc here';
const isRoot = process.getuid?.() === 0 ? 'root may write everywhere' : '';

describe('makeFolder', () => {
  test('makes all that is missing; what is there stays', async () => {
    await makeFolder(at('a', 'b', 'c'));
    await writeFile(at('a', 'b', 'kept'), '');
    await makeFolder(at('a', 'b'));
    await makeFolder(at('a', 'b', 'd'));
    expect((await readdir(at('a', 'b'))).sort()).toEqual(['c', 'd', 'kept']);
  });

  test('through a link to a folder', async () => {
    await mkdir(at('real'));
    await symlink(at('real'), at('link'));
    await makeFolder(at('link', 'a'));
    expect(await readdir(at('real'))).toEqual(['a']);
  });

  test('an empty name is named', async () => {
    expect(await refusal(makeFolder(''))).toBe('cannot make the folder : its name is empty');
  });

  test.each([[['file']], [['file', 'a']], [['file', 'a', 'b']]])('a file in the way of %j', async (names) => {
    await writeFile(at('file'), 'x');
    expect(await refusal(makeFolder(at(...names)))).toBe(
      `cannot make the folder ${at(...names)}: ${at('file')} is not a folder`,
    );
  });

  test.each([[['link']], [['link', 'a']]])('a link to nothing in the way of %j', async (names) => {
    await symlink(at('nothing'), at('link'));
    expect(await refusal(makeFolder(at(...names)))).toBe(
      `cannot make the folder ${at(...names)}: ${at('link')} is a link to ${at('nothing')}, which is not there`,
    );
    expect(await readdir(folder)).toEqual(['link']);
  });

  test('a name that is too long leaves none of the folders above it', async () => {
    expect(await refusal(makeFolder(at('a', 'b', 'x'.repeat(300))))).toMatch(
      /: a name in its path is too long$/,
    );
    expect(await readdir(folder)).toEqual([]);
  });

  test.skipIf(noProc)(`a place that cannot hold folders ${noProc}`, async () => {
    expect(await refusal(makeFolder('/proc/a/b'))).toBe(
      'cannot make the folder /proc/a/b: /proc cannot hold folders',
    );
  });

  test.skipIf(isRoot)(`a folder without the right to write ${isRoot}`, async () => {
    await chmod(folder, 0o555);
    expect(await refusal(makeFolder(at('a', 'b')))).toBe(
      `cannot make the folder ${at('a', 'b')}: in ${folder} permission denied`,
    );
  });
});

describe('checkWritable and writeText', () => {
  test.each([checkWritable, (file: string) => writeText(file, 'x')])('refuse the same', async (write) => {
    await writeFile(at('file'), 'old');
    await symlink(at('nothing'), at('dangling'));
    const reasons: [string, string | RegExp][] = [
      ['', 'it names no file'],
      [folder, 'it is a folder'],
      [`${at('a')}/`, 'it names no file'],
      [at('none', 'a'), `there is no folder ${at('none')}`],
      [at('file', 'a'), `${at('file')} is not a folder`],
      [at('dangling'), `${at('dangling')} is a link to ${at('nothing')}, which is not there`],
      [at('dangling', 'a'), `${at('dangling')} is a link to ${at('nothing')}, which is not there`],
      [at('x'.repeat(300)), 'a name in its path is too long'],
      ['/dev/null', 'it is not a regular file'],
      ...(noProc ? [] : ([['/proc/a', '/proc cannot hold files']] as [string, string][])),
    ];
    for (const [file, reason] of reasons) {
      expect(await refusal(write(file))).toBe(`cannot write ${file}: ${reason as string}`);
    }
    expect((await readdir(folder)).sort()).toEqual(['dangling', 'file']);
    expect(await readFile(at('file'), 'utf8')).toBe('old');
  });

  test('a look leaves nothing and changes nothing', async () => {
    await writeFile(at('file'), 'old');
    await checkWritable(at('file'));
    await checkWritable(at('new'));
    expect(await readdir(folder)).toEqual(['file']);
    expect(await readFile(at('file'), 'utf8')).toBe('old');
  });

  test('a link stays a link: what it points to is replaced', async () => {
    await mkdir(at('there'));
    await writeFile(at('there', 'file'), 'old');
    await symlink(at('there', 'file'), at('link'));
    await writeText(at('link'), 'new');
    expect(await readFile(at('there', 'file'), 'utf8')).toBe('new');
    expect(await readdir(at('there'))).toEqual(['file']);
  });

  test.each([
    ['ENOSPC', 'no space is left on the device'],
    ['EDQUOT', 'the disk quota is used up'],
    ['EIO', 'the device fails'],
  ])('a disk that gives up half-way (%s): the old file stays, alone', async (code, reason) => {
    await writeFile(at('file'), 'old');
    const half = writeAtomically(at('file'), async (handle) => {
      await handle.writeFile('half');
      throw Object.assign(new Error('write'), { code });
    });
    expect(await refusal(half)).toBe(`cannot write ${at('file')}: ${reason}`);
    expect(await readdir(folder)).toEqual(['file']);
    expect(await readFile(at('file'), 'utf8')).toBe('old');
  });
});

describe('readText', () => {
  const of = async (bytes: Buffer | string) => {
    await writeFile(at('text'), bytes);
    return readText(at('text'));
  };

  test('is the text, U+FFFD of its own included', async () => {
    expect(await of('größer \uFFFD 😀\r\n')).toBe('größer \uFFFD 😀\r\n');
  });

  test.each([
    ['Latin-1', Buffer.from('Wo ist der größte Kreis?', 'latin1'), 13, 'f6'],
    ['behind a U+FFFD of its own', Buffer.from([0xef, 0xbf, 0xbd, 0x61, 0xff]), 4, 'ff'],
    ['a character cut short', Buffer.from('ab😀').subarray(0, 5), 2, 'f0'],
    ['UTF-16', Buffer.from('\uFEFF{}', 'utf16le'), 0, 'ff'],
  ])('%s is refused by its first byte that is no UTF-8', async (_, bytes, byte, value) => {
    expect(await refusal(of(bytes))).toBe(`${at('text')} is not UTF-8: byte ${byte} is 0x${value}`);
  });

  test('a byte-order mark and a git-lfs pointer are named', async () => {
    expect(await refusal(of('\uFEFF{}'))).toBe(
      `${at('text')} begins with a byte-order mark: save it as UTF-8 without one`,
    );
    expect(await refusal(of('version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 9\n'))).toBe(
      `${at('text')} is a git-lfs pointer, not the file itself: run git lfs pull in its repository`,
    );
  });

  test('where there is none, the system says so', async () => {
    await expect(readText(at('none'))).rejects.toMatchObject({ code: 'ENOENT' });
    expect(await refusal(readText(folder))).toBe(`cannot read ${folder}: it is a folder`);
  });
});
