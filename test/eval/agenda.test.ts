import { expect, test } from 'vitest';
import type { LlavaConfig } from '../../src/checkpoint/architecture.ts';
import { draftAgenda, shareCells, type Agenda, type Request } from '../../src/eval/run/agenda.ts';
import { whole } from '../../src/eval/shards/shard.ts';
import { readArchitecture } from '../../src/node/checkpoint.ts';
import { shippedModel } from '../../src/node/shipped.ts';

test('what one of several models cannot do is asked of none of them', async () => {
  const model = shippedModel();
  const config = (await readArchitecture(model)) as LlavaConfig;
  const request: Request = {
    ...{ model, task: 'world', split: 'validation', count: 2, suffix: '', pad: false },
    ...{ methods: 'all', seeds: 1, keep: '25%', newTokens: 2, fill: 'none' },
  };
  const draft = (clip?: string) => draftAgenda({ ...request, clip }, config, whole);
  const [able, unable] = [await draft(shippedModel('clip')), await draft()];
  const series = ({ cells }: Agenda) => cells.map(({ variant }) => variant.series);
  expect(able.leftOut).toEqual([]);
  expect(unable.leftOut).toEqual([expect.stringMatching(/^cdpruner at 25: .* --clip$/)]);
  expect(series(able)).toContain('cdpruner');
  for (const both of [
    [able, unable],
    [unable, able],
  ]) {
    const shared = shareCells(both);
    expect(shared.map(series)).toEqual([series(unable), series(unable)]);
    expect(shared.map(({ key }) => key)).toEqual(both.map(({ key }) => key));
  }
  expect(shareCells([able])).toEqual([able]);
});
