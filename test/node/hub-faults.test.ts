/** Whatever a hub does: the model is whole, or is taken for none. */
import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { UserError } from '../../src/errors.ts';
import { locateModel } from '../../src/node/hub-cache.ts';
import { listFiles } from '../support/cli.ts';
import { fileFaults, listFaults, serveHub, type FileFault } from '../support/hub.ts';
import { at, download, env, expectWhole, hub, useHub } from '../support/hub-model.ts';
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
      try {
        return (await refusal(download({ env: { ...env, HF_ENDPOINT: other.address } }, 'o/n'))).replace(
          page(other.address),
          'o/n',
        );
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
  test.each(kinds)('that %s: %s', async (fault, kind) => {
    env['HF_HUB_DOWNLOAD_TIMEOUT'] = '0.3';
    hub.faults = Array<FileFault>(kind === 'harmless' ? 99 : 2).fill(fault);
    const done = download();
    if (kind !== 'lie') await done;
    else
      expect(await refusal(done)).toMatch(
        /^http:\S+ (is not the file|sends more|has \d+ bytes, where|has no org\/name)/,
      );
    if (kind === 'lie')
      expect(await refusal(locateModel('org/name', env))).toContain('vtc download org/name');
    env['HF_HUB_DOWNLOAD_TIMEOUT'] = '10';
    hub.faults = [];
    await download();
    await expectWhole(await locateModel('org/name', env));
  });

  test.each(listFaults)('whose list has %s', async (fault) => {
    hub.listFault = fault;
    const told = await refusal(download());
    expect(told).toMatch(
      /does not say what|ends after|has \d+ bytes, where|sends more|is not the file|has no end|are to come/,
    );
    expect(await refusal(locateModel('org/name', env))).toContain('vtc download org/name');
    const left = await listFiles(at());
    expect(
      left.filter((file) => !/^cache\/models--org--name\/blobs\/\w{40,64}(\.vtc\.incomplete)?$/.test(file)),
    ).toEqual([]);
    hub.listFault = undefined;
    await download();
    await expectWhole(await locateModel('org/name', env));
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
