/** Whatever a hub does: the model is whole, or is taken for none. */
import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { UserError } from '../../src/errors.ts';
import { locateModel } from '../../src/node/hub-cache.ts';
import { listFiles } from '../support/cli.ts';
import { fileFaults, listFaults, serveHub, type FileFault, type ListFault } from '../support/hub.ts';
import { at, download, env, expectWhole, hub, repo, useHub } from '../support/hub-model.ts';
import { refusal } from '../support/refusal.ts';

useHub();

describe('a hub with faults', () => {
  test.each([
    [404, /^http:\S+ has no org\/name: http:\S+ answers 404 Not Found$/],
    [410, /^http:\S+ answers 410 Gone$/],
    [429, /^http:\S+ answers 429 Too Many Requests, 3 times: the same command goes on from here later$/],
    [500, /^http:\S+ answers 500 Internal Server Error, 3 times/],
  ])('answers %i', async (status, message) => {
    hub.status = status;
    expect(await refusal(download())).toMatch(message);
    expect(existsSync(at('cache')), 'nothing is left').toBe(false);
  });

  test('is not there', async () => {
    await hub.close();
    expect(await refusal(download())).toMatch(/^http:\S+ cannot be read: connect ECONNREFUSED \S+, 3 times/);
  });

  test('has weights of another kind, or none, or no config', async () => {
    const page = (address: string) => `${address}/o/n`;
    const serveOnly = async (files: Record<string, string>) => {
      const other = await serveHub(at('empty'), 'o/n', files);
      const asked = { env: { ...env, HF_ENDPOINT: other.address } };
      try {
        const told = await refusal(download(asked, 'o/n'));
        expect(await refusal(download({ ...asked, to: at('out') }, 'o/n'))).not.toBe('');
        expect(existsSync(at('out'))).toBe(false);
        return told.replace(page(other.address), 'o/n');
      } finally {
        await other.close();
      }
    };
    const neither = 'o/n has neither model.safetensors nor model.safetensors.index.json';
    expect(await serveOnly({ 'config.json': '{}' })).toBe(neither);
    expect(await serveOnly({ 'config.json': '{}', 'pytorch_model.bin': '' })).toContain(
      `${neither}; it has pytorch_model.bin`,
    );
    expect(await serveOnly({ 'model.safetensors': 'x' })).toBe('o/n has no config.json');
    const index = '{"weight_map": {"a": "model-00001-of-00002.safetensors"}}';
    expect(await serveOnly({ 'config.json': '{}', 'model.safetensors.index.json': index })).toMatch(
      /names the shard model-00001-of-00002.safetensors, which is not in the folder$/,
    );
  });

  const kinds = Object.entries(fileFaults) as [FileFault, 'passing' | 'harmless' | 'lie'][];
  const lies: Partial<Record<FileFault, RegExp>> = {
    'sends wrong bytes':
      /^http:\S+ is not the file that its list names: its hash is \w{40}, should be \w{40}$/,
    'sends too much': /^http:\S+ sends more than the \d+ bytes of its list$/,
    'says another size': /^http:\S+ has \d+ bytes, where its list says \d+$/,
    'sends a web page': /^http:\S+ is not the file that its list names: /, // the rest of it came another time
    'answers 404': /^http:\S+ has no org\/name: http:\S+ answers 404 Not Found$/,
  };
  test.each(kinds)('that %s: %s', async (fault, kind) => {
    env['HF_HUB_DOWNLOAD_TIMEOUT'] = '0.3';
    hub.faults = Array<FileFault>(kind === 'harmless' ? 99 : 2).fill(fault);
    if (kind === 'lie') {
      expect(await refusal(download())).toMatch(lies[fault]!);
      expect(await refusal(locateModel('org/name', env))).toContain('vtc download org/name fetches it');
      if (fault === 'answers 404') expect(existsSync(repo()), 'nothing is left').toBe(false);
    } else await download();
    env['HF_HUB_DOWNLOAD_TIMEOUT'] = '10';
    hub.faults = [];
    await download();
    await expectWhole(await locateModel('org/name', env));
  });

  const isNone = /^http:\S+ does not say what org\/name is made of: /;
  const refused: Record<ListFault, RegExp> = {
    'a size too small': /has \d+ bytes, where its list says \d+$/,
    'a size too large': /has \d+ bytes, where its list says \d+$/,
    'a size that is none': /made of: it gives model.safetensors the size -1$/,
    'a size beyond any disk': / has [\d.]+ [MG]B free, [\d.]+ GB are needed$/,
    'a wrong hash': /is not the file that its list names: its hash is \w{64}, should be \w{64}$/,
    'a hash that is a path': /made of: it gives model.safetensors the hash "..\/..\/..\/..\/evil"$/,
    'a file outside': /made of: it lists "..\/evil.json", which is no file of a folder$/,
    'no JSON': isNone,
    'JSON of another kind': isNone,
    'a commit that is a path': /made of: its commit is none$/,
    'no end': /answers with a list of files that has no end$/,
    'too many files': /made of: it lists more than 10000 files$/,
    'too many bytes': /answers with more than 32 MiB: that is no list of files$/,
  };
  test.each(listFaults)('whose list has %s', async (fault) => {
    hub.listFault = fault;
    expect(await refusal(download())).toMatch(refused[fault]);
    expect(await refusal(locateModel('org/name', env))).toContain('vtc download org/name fetches it');
    const blob = /^cache\/models--org--name\/blobs\/\w{40,64}(\.vtc\.incomplete)?$/;
    expect((await listFiles(at())).filter((file) => !blob.test(file))).toEqual([]);
    if (fault === 'a size beyond any disk') expect(existsSync(repo()), 'nothing is left').toBe(false);
    hub.listFault = undefined;
    await download();
    await expectWhole(await locateModel('org/name', env));
  });

  test('one that is slow, but not silent, is waited for', async () => {
    env['HF_HUB_DOWNLOAD_TIMEOUT'] = '0.5'; // each of the two large files takes a second
    hub.slow = true;
    await download({ pauses: [] });
    await expectWhole(repo('snapshots', hub.commit));
  });

  test('one that gives a mebibyte at a time is asked again and again', async () => {
    const files = { 'config.json': '{}', 'model.safetensors': 'x'.repeat(6e6) };
    const large = await serveHub(at('empty'), 'o/n', files);
    try {
      large.faults = ['serves no ranges', ...Array<FileFault>(3).fill('breaks off in the middle')];
      const { fetched } = await download({ env: { ...env, HF_ENDPOINT: large.address } }, 'o/n');
      expect(fetched).toBe(6e6 + 2);
    } finally {
      await large.close();
    }
  });

  test('a silent one is given up', async () => {
    env['HF_HUB_DOWNLOAD_TIMEOUT'] = '0.2';
    hub.faults = Array<FileFault>(9).fill('is silent');
    expect(await refusal(download())).toMatch(
      /^http:\S+ says nothing for 0.2 s, 3 times: the same command goes on/,
    );
  });

  test('whatever it does, the model is whole or is none, and an honest hub makes it whole', async () => {
    const fault = fc.constantFrom(...kinds.map(([name]) => name).filter((name) => !/silent/.test(name)));
    const run = fc.record({
      faults: fc.array(fault, { maxLength: 12 }),
      listFault: fc.option(fc.constantFrom(...listFaults), { nil: undefined, freq: 6 }),
      tries: fc.nat(3),
      plain: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(run, { minLength: 1, maxLength: 3 }), async (runs) => {
        await rm(at('cache'), { recursive: true, force: true });
        await rm(at('out'), { recursive: true, force: true });
        const pauses = (count: number) => Array<number>(count).fill(0);
        for (const { faults, listFault, tries, plain } of runs) {
          Object.assign(hub, { faults: [...faults], listFault });
          const to = plain ? at('out', 'model') : undefined;
          const told = await download({ to, pauses: pauses(tries) }).then(
            () => undefined,
            (error: unknown) => error,
          );
          if (told !== undefined) expect(told).toBeInstanceOf(UserError);
          const there = plain
            ? existsSync(to!)
              ? to
              : undefined
            : await locateModel('org/name', env).catch(() => undefined);
          if (told === undefined) expect(there).toBeDefined();
          if (there !== undefined) await expectWhole(there);
        }
        Object.assign(hub, { faults: [], listFault: undefined });
        await expectWhole((await download()).folder);
        await expectWhole((await download({ to: at('out', 'model') })).folder);
      }),
      { numRuns: process.env['FULL'] ? 300 : 30 },
    );
  });
});
