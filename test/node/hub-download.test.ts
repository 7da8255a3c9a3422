/** A model comes from a hub into the cache, or into a folder. */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { lstat, readdir, readFile, readlink, rm, symlink, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { locateModel } from '../../src/node/hub-cache.ts';
import { listFiles } from '../support/cli.ts';
import type { FileFault } from '../support/hub.ts';
import { at, download, env, expectWhole, hub, place, repo, useHub, wanted } from '../support/hub-model.ts';
import { refusal } from '../support/refusal.ts';

useHub();

describe('a download', () => {
  test('fetches what is wanted into the cache’s layout, once', async () => {
    const seen: [number, number][] = [];
    const bytes = Object.values(wanted).reduce((sum, { length }) => sum + length, 0);
    const done = await download({ onProgress: (...step) => seen.push(step) });
    const snapshot = repo('snapshots', hub.commit);
    expect(done).toEqual({ folder: snapshot, commit: hub.commit, files: 5, bytes, fetched: bytes });
    expect(seen.at(-1)).toEqual([bytes, bytes]);
    expect(seen).toEqual([...seen].sort(([a], [b]) => a - b));
    await expectWhole(snapshot);
    expect(await locateModel('org/name', env)).toBe(snapshot);
    expect(await readFile(repo('refs', 'main'), 'utf8')).toBe(hub.commit);
    const sha256 = createHash('sha256').update(wanted['model.safetensors']).digest('hex');
    expect(await readlink(path.join(snapshot, 'model.safetensors'))).toBe(`../../blobs/${sha256}`);
    // git hash-object of a file without bytes
    const empty = 'e69de29bb2d1d6434b8b29ae775ad8c2e48c5391';
    expect(await readlink(path.join(snapshot, 'chat_template.jinja'))).toBe(`../../blobs/${empty}`);
    expect(await readlink(path.join(snapshot, 'additional_chat_templates', 'tool.jinja'))).toMatch(
      /^\.\.\/\.\.\/\.\.\/blobs\/\w{40}$/,
    );
    expect(await listFiles(at('cache', '.locks'))).toEqual([]);

    hub.requests = [];
    const link = () => lstat(path.join(snapshot, 'model.safetensors'), { bigint: true });
    const made = await link();
    expect(await download()).toMatchObject({ folder: snapshot, fetched: 0 });
    expect((await link()).ctimeNs, 'it is left as it is').toBe(made.ctimeNs);
    expect(hub.requests.filter(({ path }) => path.includes('/resolve/'))).toEqual([]);
  });

  test('of a commit names no branch; two revisions are refused', async () => {
    const { folder: snapshot } = await download({ revision: hub.commit });
    expect(existsSync(repo('refs'))).toBe(false);
    expect(await locateModel(`org/name@${hub.commit}`, env)).toBe(snapshot);
    hub.otherCommit = 'f'.repeat(40);
    expect(await refusal(download({ revision: hub.commit }))).toMatch(/made of: its commit is none$/);
    expect(await refusal(download({ revision: 'a' }, 'org/name@b'))).toBe(
      'org/name@b and --revision a name two revisions',
    );
    expect(await refusal(download({ revision: '../x' }))).toBe(
      '--revision ../x: is no name of a branch, tag or commit',
    );
    expect(await refusal(download({ revision: 'v9' }))).toMatch(
      / has no org\/name of revision v9: .* answers 404 Not Found$/,
    );
  });

  test('completes a snapshot that has some of it', async () => {
    await download();
    const weights = repo('snapshots', hub.commit, 'model.safetensors');
    await rm(repo('snapshots', hub.commit, await readlink(weights)));
    expect(await refusal(locateModel('org/name', env))).toMatch(
      /in part only \(.* lacks model.safetensors\)/,
    );
    expect(await download()).toMatchObject({ fetched: 60_000 });
    await rm(weights);
    await symlink('../../blobs/gone', weights);
    expect(await download()).toMatchObject({ fetched: 0 });
    await expectWhole(repo('snapshots', hub.commit));
  });

  test('makes a model only at the end, whatever stands in the way', async () => {
    await place(repo('snapshots', hub.commit, 'tokenizer.json', 'x'), '');
    expect(await refusal(download())).toMatch(
      /^cannot link .*tokenizer\.json: .*; --to DIR makes a folder without links$/,
    );
    expect(existsSync(repo('snapshots', hub.commit, 'model.safetensors'))).toBe(false);
    expect(existsSync(repo('refs'))).toBe(false);
  });

  test('into a folder makes plain files, and no other folder’s', async () => {
    const to = at('deep', 'model');
    expect(await download({ to })).toMatchObject({ folder: to, files: 5 });
    await expectWhole(to);
    expect(await readdir(at('deep'))).toEqual(['model']);
    expect(await download({ to })).toMatchObject({ folder: to, fetched: 0 });
    await writeFile(path.join(to, 'config.json'), '{"model_type": "other"}');
    expect(await refusal(download({ to }))).toBe(
      `--to ${to}: it is there, and its config.json is not this model's: name a new folder`,
    );
    expect(await readFile(path.join(to, 'config.json'), 'utf8')).toContain('other');
    expect(await download({ to: at('empty') })).toMatchObject({ files: 5 });
    await writeFile(at('file'), '');
    expect(await refusal(download({ to: at('file') }))).toMatch(
      /^--to .*file: a part of its path is not a folder$/,
    );
    expect(await refusal(download({ to: at('file', 'x') }))).toMatch(
      /^cannot make the folder .* is not a folder$/,
    );
  });

  test('goes on where it was broken off', async () => {
    hub.faults = Array<FileFault>(9).fill('breaks off in the middle');
    // of the small files the second half is half as much again, and so on
    expect(await refusal(download({ pauses: [] }))).toMatch(
      /ends after|cannot be read: .*, 1 times: the same command/,
    );
    hub.faults = [];
    hub.requests = [];
    await download();
    await expectWhole(repo('snapshots', hub.commit));
    const resumed = hub.requests.filter(({ range }) => range !== undefined);
    expect(resumed).toHaveLength(1);
    expect(resumed[0].range).toMatch(/^bytes=[1-9]\d*-$/);
  });

  test('goes on from wrong bytes, or from too many, once', async () => {
    const sha256 = createHash('sha256').update(wanted['model.safetensors']).digest('hex');
    const partial = repo('blobs', `${sha256}.vtc.incomplete`);
    await place(partial, 'x'.repeat(100));
    await download({ pauses: [] });
    await expectWhole(repo('snapshots', hub.commit));
    await rm(repo(), { recursive: true });
    await place(partial, 'x'.repeat(70_000));
    await download({ pauses: [] });
    await rm(repo('blobs', sha256));
    await place(partial, 'x'.repeat(100));
    hub.faults = Array<FileFault>(3).fill('sends wrong bytes');
    expect(await refusal(download({ pauses: [] }))).toContain('is not the file that its list names');
    expect(existsSync(partial)).toBe(false);
  });

  test('begins anew where a server serves no ranges', async () => {
    const sha256 = createHash('sha256').update(wanted['model.safetensors']).digest('hex');
    await place(repo('blobs', `${sha256}.vtc.incomplete`), wanted['model.safetensors'].subarray(0, 1000));
    hub.faults = Array<FileFault>(9).fill('serves no ranges');
    await download({ pauses: [] });
    await expectWhole(repo('snapshots', hub.commit));
    expect(hub.requests.filter(({ range }) => range === 'bytes=1000-')).toHaveLength(1);
  });

  test('another process at the same', async () => {
    const lock = at('cache', '.locks', 'models--org--name', 'vtc-download.lock');
    await place(lock, `${hostname()} ${process.ppid} 1`);
    expect(await refusal(download())).toBe(
      `process ${process.ppid} on ${hostname()} is downloading org/name: wait for it, or remove ${lock}`,
    );
    await writeFile(lock, 'elsewhere 999999999 1');
    expect(await refusal(download())).toMatch(/^process 999999999 on elsewhere is downloading org\/name: /);
    await writeFile(lock, `${hostname()} 999999999 1`); // killed
    await download();
    await writeFile(lock, `${hostname()} ${process.pid} 1`); // our number, given once before
    await download();
    expect(existsSync(lock)).toBe(false);
    const both = await Promise.allSettled([download({ to: at('a') }), download({ to: at('a') })]);
    const late = both.filter((one) => one.status === 'rejected');
    expect(late.map(({ reason }) => String(reason))).toMatchObject([
      expect.stringContaining('is downloading org/name'),
    ]);
    await expectWhole(at('a'));
  });
});

describe('what the environment says', () => {
  test.each([
    [{ HF_HUB_OFFLINE: '1' }, 'HF_HUB_OFFLINE is 1: nothing is downloaded until it is unset'],
    [
      { HF_ENDPOINT: 'huggingface.co' },
      'HF_ENDPOINT should be an address such as https://huggingface.co, and is none',
    ],
    [
      { HF_ENDPOINT: 'http://a:secret@b' },
      'HF_ENDPOINT should be an address such as https://huggingface.co, and is none',
    ],
    [{ HF_TOKEN: 'hf_a\nb' }, 'HF_TOKEN holds characters that are in no token'],
    [
      { HF_HUB_DOWNLOAD_TIMEOUT: '0' },
      'HF_HUB_DOWNLOAD_TIMEOUT 0: should be seconds, more than 0 and at most 3600',
    ],
  ])('%j', async (given, message) => {
    Object.assign(env, given);
    expect(await refusal(download())).toBe(message);
    expect(hub.requests).toEqual([]);
  });

  test('a token opens what is gated, and goes to no other host', async () => {
    hub.token = 'hf_secret';
    const page = `${hub.address}/org/name`;
    expect(await refusal(download())).toBe(
      `${page} answers 401 Unauthorized: there is no such model, or one must accept its terms there and name a token in HF_TOKEN`,
    );
    env['HF_TOKEN'] = 'hf_other';
    expect(await refusal(download())).toBe(
      `${page} answers 403 Forbidden: the token in HF_TOKEN may not read it: accept its terms there`,
    );
    expect(existsSync(at('cache')), 'nothing is left').toBe(false);
    env['HF_TOKEN'] = ' hf_secret\n';
    hub.faults = Array<FileFault>(5).fill('redirects');
    hub.pages = true;
    hub.requests = [];
    await download();
    await expectWhole(repo('snapshots', hub.commit));
    const elsewhere = hub.requests.filter((request) => request.elsewhere);
    expect(elsewhere).toHaveLength(5); // a page of the list, and the files that have bytes
    expect(elsewhere.filter(({ authorization }) => authorization !== undefined)).toEqual([]);
  });
});
