/** Models by their names, as Hugging Face's library leaves them in its cache. */
import { createHash } from 'node:crypto';
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { hubCache, locateModel, parseModelName } from '../../src/node/hub-cache.ts';
import { download, env, hub, place, repo, useHub } from '../support/hub-model.ts';
import { refusal } from '../support/refusal.ts';

useHub();

describe('names', () => {
  test.each(['org/name', 'llava-hf/llava-1.5-7b-hf', 'o/n@v1.0', 'o/n@refs/pr/1', 'A_1/b.c-d'])(
    '%s',
    (name) => {
      const [plain, revision = 'main'] = name.split('@');
      expect(parseModelName(name)).toEqual({ name: plain, revision });
    },
  );
  test.each([
    ...'name a/b/c /a/b ./a ../a a/.. ../.. a/b..c a--b/c -a/b a/b- a/.b a\\b/c / ä/b a/b.git a/b@ a/b@.. a/b@../../x a/b@x/../y a/b@/x a/b@x//y a/b@-x'.split(
      ' ',
    ),
    'a/b c',
    'a/b\n',
    '',
  ])('%j is none', async (name) => {
    expect(parseModelName(name)).toBeUndefined();
    expect(await locateModel(name, env), 'it is left as it is').toBe(name);
    expect(await refusal(download({}, name))).toMatch(
      /names no model of the Hugging Face Hub: it should be org\/name/,
    );
    expect(hub.requests).toEqual([]);
  });
});

test('where the cache is', () => {
  const home = path.join(homedir(), '.cache', 'huggingface', 'hub');
  expect(hubCache({})).toBe(home);
  expect(hubCache({ HF_HUB_CACHE: '', HF_HOME: '' })).toBe(home);
  expect(hubCache({ XDG_CACHE_HOME: '/x' })).toBe('/x/huggingface/hub');
  expect(hubCache({ XDG_CACHE_HOME: '/x', HF_HOME: '/h' })).toBe('/h/hub');
  expect(hubCache({ HF_HOME: '/h', HF_HUB_CACHE: '/c' })).toBe('/c');
  expect(hubCache({ HF_HUB_CACHE: '~/c' })).toBe(path.join(homedir(), 'c'));
});

describe('the cache that Hugging Face’s library left', () => {
  const commit = 'a'.repeat(40);
  const snapshot = () => repo('snapshots', commit);

  /** A blob and the link to it. */
  async function add(file: string, content: string): Promise<void> {
    const hash = createHash('sha256').update(content).digest('hex');
    await place(repo('blobs', hash), content);
    await mkdir(snapshot(), { recursive: true });
    await symlink(`../../blobs/${hash}`, path.join(snapshot(), file));
  }

  test('a name is its branch’s snapshot, or a revision’s; a folder of that name goes before', async () => {
    await place(repo('refs', 'main'), commit);
    await place(repo('refs', 'refs', 'pr', '1'), `${commit}\n`);
    await add('config.json', '{}');
    await add('model.safetensors', 'weights');
    for (const name of ['org/name', 'org/name@refs/pr/1', `org/name@${commit}`]) {
      expect(await locateModel(name, env)).toBe(snapshot());
    }
    expect(await locateModel('src/node', env)).toBe('src/node');
    expect(await refusal(locateModel('org/name@v2', env))).toBe(
      `org/name@v2 is no folder, and Hugging Face's cache has no revision v2 of it in ${repo()}: vtc download org/name@v2 fetches it`,
    );
  });

  test('shards, and what is missing', async () => {
    await place(repo('refs', 'main'), commit);
    const next = 'vtc download org/name';
    const inPart = (why: string) => `the cache has org/name in part only (${why}): ${next} completes it`;
    const located = () => refusal(locateModel('org/name', env));
    const none = `org/name is no folder, and Hugging Face's cache has no such model in ${repo()}: ${next} fetches it`;
    expect(await located()).toBe(none);
    await place(repo('blobs', 'b'.repeat(64) + '.incomplete'), 'half');
    await add('config.json', '{}');
    const lack = `${snapshot()} has neither model.safetensors nor model.safetensors.index.json`;
    expect(await located()).toBe(inPart(lack));
    const index = path.join(snapshot(), 'model.safetensors.index.json');
    await add(
      'model.safetensors.index.json',
      '{"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}',
    );
    await add('one.safetensors', '1');
    expect(await located()).toBe(
      inPart(`${index} names the shard two.safetensors, which is not in the folder`),
    );
    await symlink('../../blobs/gone', path.join(snapshot(), 'two.safetensors'));
    expect(await located()).toBe(inPart(`${snapshot()} lacks two.safetensors`));
    await place(repo('blobs', 'gone'), '2');
    expect(await locateModel('org/name', env)).toBe(snapshot());
    await writeFile(repo('refs', 'main'), '../../../elsewhere');
    expect(await located()).toBe(`${repo('refs', 'main')} holds "../../../elsewhere", which is no commit`);
  });
});
