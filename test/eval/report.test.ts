import { describe, expect, test } from 'vitest';
import type { CellRecord } from '../../src/eval/run/cell.ts';
import { planCells } from '../../src/eval/run/cell.ts';
import { drawCurves } from '../../src/eval/page/curves.ts';
import { drawKeptMaps } from '../../src/eval/page/kept-map.ts';
import { writeMarkdown, type Results } from '../../src/eval/page/report.ts';
import { accuracyAt, curvesOf } from '../../src/eval/page/costs.ts';
import { summarise } from '../../src/eval/page/summary.ts';
import type { Task } from '../../src/eval/task/task.ts';
import { parseVariants } from '../../src/eval/run/variant.ts';

/** Ten questions of two types about ten pictures; the right answer is always yes. */
const task: Task = {
  name: 'ten questions',
  scoring: 'exact',
  pictures: Array.from({ length: 10 }, (_, i) => ({
    id: `p${i}`,
    read: () => ({ width: 1, height: 1, data: new Uint8Array(3) }),
  })),
  questions: Array.from({ length: 10 }, (_, i) => ({
    id: String(i),
    picture: i,
    question: 'is it ?',
    answer: 'yes',
    type: i < 4 ? 'early' : 'late',
  })),
};

/** So many of the ten right, from the first on. */
const right: Record<string, number> = {
  'none@16': 9,
  'none@16-grey': 3,
  'none@16-wrong': 2,
  'vtc-cls@8': 8,
  'vtc-cls@4': 6,
  'random@8': 4,
  'random@4': 2,
  'random.seed=1@8': 6,
  'random.seed=1@4': 2,
};
const cells = planCells(parseVariants('none,vtc-cls,random,random:seed=1'), [8, 4], 16);
const done = cells.map((cell) => {
  const { variant, budget, pictures } = cell;
  const name = `${variant.name.replaceAll(':', '.')}@${budget}${pictures === 'own' ? '' : `-${pictures}`}`;
  const layerTokens =
    variant.method.name === 'vtc-cls' ? [20, 4 + budget, 4 + budget] : Array(3).fill(4 + budget);
  const tokens = (layerTokens as number[]).reduce((sum, n) => sum + n, 0);
  const record: CellRecord = {
    variant: variant.name,
    budget,
    pictures,
    answers: task.questions.map((_, i) => (i < right[name] ? ' Yes' : 'no')),
    restricted: task.questions.map(() => ''),
    layerTokens: layerTokens as number[],
    prefillFlops: 1e6 * tokens,
    cacheBytes: 1024 * tokens,
    prompts: [],
    seen: 1,
    milliseconds: { see: 3, prefill: 20, decode: 10 },
    seconds: 1,
    commit: 'abc',
    backend: 'wasm',
    machine: 'a machine',
  };
  return { cell, record };
});
const rows = summarise(task, done);
const flopsAtBudget = [8, 4].map((budget) => ({ budget, flops: 3e6 * (4 + budget) }));
const results: Results = {
  task: task.name,
  questions: 10,
  pictures: 1,
  models: ['some/model'],
  fill: 'none',
  comparisons: {},
  patches: 16,
  command: 'vtc eval …',
  commits: ['abc'],
  backends: ['wasm'],
  machines: ['a machine'],
  textTokens: 4,
  date: '2026-01-01',
  flopsAtBudget,
  rows,
  focus: { patches: 2, chance: 0.1, shares: { 'layer 0': 0.05, 'layer 1': 0.7 } },
};

test('a row for each series and budget: accuracy overall and by type, seeds averaged', () => {
  const told = rows.map(({ series, budget, pictures, seeds, overall, byType }) => [
    `${series} ${budget} ${pictures} ${seeds}`,
    overall.accuracy,
    byType['early'].accuracy,
    byType['late'].accuracy,
  ]);
  expect(told).toEqual([
    ['none 16 own 1', 0.9, 1, 5 / 6],
    ['none 16 grey 1', 0.3, 0.75, 0],
    ['none 16 wrong 1', 0.2, 0.5, 0],
    ['vtc-cls 8 own 1', 0.8, 1, 4 / 6],
    ['vtc-cls 4 own 1', 0.6, 1, 2 / 6],
    ['random 8 own 2', 0.5, 1, 1 / 6],
    ['random 4 own 2', 0.2, 0.5, 0],
  ]);
  expect(rows[5].overall.n).toBe(10); // two seeds are not twice the questions
  expect(rows[0].byType['early'].n).toBe(4);
});

test('by what is asked about, of those questions that speak of one thing, where a task tells', () => {
  expect(rows[0].byAbout).toEqual({});
  expect(writeMarkdown(results)).not.toContain('what is asked about');
  const things = new Map(
    Object.entries({ 1: 'letter', 2: 'small shape', 4: 'letter', 8: 'small shape', 9: 'letter' }),
  );
  const questions = task.questions.map((question) => ({ ...question, about: things.get(question.id) }));
  const told = summarise({ ...task, questions }, done);
  expect(told[0].byAbout['letter']).toMatchObject({ n: 3, accuracy: 2 / 3 });
  expect(told[3].byAbout['small shape']).toMatchObject({ n: 2, accuracy: 1 / 2 });
  const text = writeMarkdown({ ...results, rows: told });
  expect(text).toContain('Of 3 letter, 2 small shape;');
  expect(text).toMatch(/\| none +\| +16 \| 90\.0 \[[^|]+\| 66\.7 ±[\d.]+ \| 100\.0 ±/);
});

test('costs and times are means over the seeds; times are those of one picture and of one question', () => {
  const dearer = done.map(({ cell, record }) => {
    const twice = cell.variant.name === 'random:seed=1' ? 2 : 1;
    return { cell, record: { ...record, prefillFlops: twice * record.prefillFlops } };
  });
  const [before, after] = [rows, summarise(task, dearer)].map((some) => some[5]);
  expect(after.prefillFlops).toBe(1.5 * before.prefillFlops);
  expect(before.milliseconds).toEqual({ see: 3, prefill: 2, decode: 1 });
});

test('a task in POPE’s format has POPE’s figures in each row, means over the seeds', () => {
  const questions = task.questions.map((question, i) => ({ ...question, answer: i < 5 ? 'yes' : 'no' }));
  const pope = summarise({ ...task, questions, scoring: 'pope' }, done).map((row) => row.pope!);
  // Yes to the first 8: 5 true and 3 false positives. Random's seeds say it to the first 4 and to the first 6.
  expect(pope[3]).toMatchObject({ accuracy: 0.7, precision: 5 / 8, recall: 1, yesRatio: 0.8 });
  expect(pope[5].recall).toBeCloseTo((4 / 5 + 1) / 2, 12);
  expect(pope[5].precision).toBeCloseTo((1 + 5 / 6) / 2, 12);
  expect(rows[3].pope).toBeUndefined();
});

describe('what critics ask for', () => {
  const choices = ['yes', 'no'];
  const chosen: Task = { ...task, questions: task.questions.map((question) => ({ ...question, choices })) };
  const answersOf = (name: string, answers: string[], restricted = answers) => {
    const { cell, record } = done.find(({ cell: { variant, pictures, budget } }) => {
      return name === `${variant.name}@${budget}` && pictures === 'own';
    })!;
    return { cell, record: { ...record, answers, restricted } };
  };
  const ten = (text: string) => text.split('').map((c) => ({ y: 'yes', n: 'no', r: 'red', e: '' })[c]!);
  const run = (more: Parameters<typeof summarise>[2] = {}, other?: string) =>
    summarise(
      chosen,
      [
        { ...answersOf('none@16', ten('yyyyyyyyyn')), model: 0 },
        { ...answersOf('vtc-cls@8', ten('yyyyyynnrn'), ten('yyyyyyyyyn')), model: 0 },
        { ...answersOf('random@8', ten('yynnnneery'), ten('yynnnnnnny')), model: 0 },
        ...(other
          ? [
              { ...answersOf('none@16', ten('yyyyyyyyyy')), model: 1 },
              { ...answersOf('vtc-cls@8', ten(other), ten(other)), model: 1 },
              { ...answersOf('random@8', ten('nnnnnnnnnn')), model: 1 },
            ]
          : []),
      ],
      more,
    );

  test('answers of no legal kind, the choice that the model must make, and the uncut model’s answers again', () => {
    const [none, vtc, random] = run();
    expect([none.offType, vtc.offType, random.offType]).toEqual([0, 0.1, 0.3]);
    expect(vtc.restricted!.accuracy).toBeCloseTo(0.9, 12);
    expect(random.restricted!.accuracy).toBeCloseTo(0.3, 12);
    expect([none.loyalty!.accuracy, vtc.loyalty!.accuracy]).toEqual([1, 0.7]); // no and no agree
    expect(random.loyalty!.accuracy).toBeCloseTo(0.2, 12);
    expect(rows[3].offType).toBeUndefined(); // questions without choices
    expect(rows[3].restricted).toBeUndefined();
  });

  test('a rival on the same questions, paired', () => {
    const [none, vtc, random] = run({ against: 'vtc-cls' });
    expect([none.against, vtc.against]).toEqual([undefined, undefined]);
    expect(random.against!.mean).toBeCloseTo(0.3 - 0.6, 12);
    // By hand: y y n n n n e e r y against y y y y y y n n r n differ in −4 + 1 of ten.
    expect(random.against!.low).toBeLessThan(-0.3);
    expect(random.against!.high).toBeGreaterThan(-0.3);
  });

  test('hard questions are those that the uncut model gets right and another method does not', () => {
    const [none, vtc, random] = run({ hard: 'random' });
    expect(none.hard).toBeUndefined(); // at another budget
    expect(random.hard).toBeUndefined(); // it fails them all
    expect(vtc.hard!.hard).toMatchObject({ n: 7, accuracy: 4 / 7 }); // questions 2 to 8
    expect(vtc.hard!.rest).toMatchObject({ n: 3, accuracy: 2 / 3 });
    expect(vtc.hard!.hard!.n + vtc.hard!.rest!.n).toBe(10);
  });

  test('several models are one row: the mean, the least and the greatest, each against its own uncut self', () => {
    const [none, vtc] = run({}, 'yyyyyyyyyy');
    expect([none.models, vtc.models, vtc.seeds]).toEqual([2, 2, 1]);
    expect(none.overall.accuracy).toBeCloseTo(0.95, 12);
    expect(vtc.range).toEqual([0.6, 1]);
    expect(vtc.overall).toMatchObject({ n: 10, accuracy: 0.8 });
    expect(vtc.loyalty!.accuracy).toBeCloseTo((0.7 + 1) / 2, 12);
    const text = writeMarkdown({ ...results, models: ['a', 'b'], rows: [none, vtc] });
    expect(text).toContain('means over 2 models, and the least and the greatest');
    expect(text).toMatch(/\| vtc-cls +\| +\| 80.0 \[[\d.]+, [\d.]+\] \(60.0 to 100.0\) \|/);
  });

  test('the tables tell all of it, and a probe is called one', () => {
    const kept = { shares: Array.from({ length: 16 }, (_, p) => p / 16), sinks: 0.125 };
    const told = run({ against: 'vtc-cls', hard: 'random' }).map((row) => ({ ...row, kept, kl: 0.25 }));
    const comparisons = { against: 'vtc-cls', hard: 'random' };
    const text = writeMarkdown({ ...results, rows: told, comparisons, fill: 'blank' });
    expect(text).toContain('**A probe, no compression**');
    expect(text).toMatch(/### Against vtc-cls[^#]*\| random \| +8 \| -30.0 \[-\d+.0, [+-]?\d+.0\]/);
    expect(text).toMatch(/### Hard questions[^#]*\| vtc-cls \| +8 \| 57.1 \[[^\]]*\], n 7 \| 66.7/);
    expect(text).toMatch(
      /### What kind of answer[^#]*\| vtc-cls \| +8 \| +10.0 \| +90.0 [^|]*\| +70.0 [^|]*\| 0.250 \|/,
    );
    expect(text).toMatch(/### Which patches stay[^#]*\| vtc-cls \| +8 \| +7.5 \| +12.5 \| +0.0 \| +93.8 \|/);
    expect(writeMarkdown(results)).not.toMatch(/probe|Against|Hard questions|Which patches stay/);
  });

  test('the maps are a square for each method but none, and not drawn where nothing was counted', async () => {
    const kept = { shares: Array.from({ length: 16 }, (_, p) => p / 16), sinks: 0 };
    const svg = await drawKeptMaps({ ...results, rows: rows.map((row) => ({ ...row, kept })) });
    for (const name of ['vtc-cls, 8', 'vtc-cls, 4', 'random (2 seeds), 8'])
      expect(svg).toContain(`>${name}<`);
    expect(svg).not.toContain('>none');
    expect(svg!.match(/role-mark.*?marks/g)!.length).toBeGreaterThanOrEqual(4);
    expect(await drawKeptMaps(results)).toBeUndefined();
  });
});

test('curves end at the uncompressed model, and are read between their points only', () => {
  const [vtc, random] = curvesOf(results);
  expect(vtc.points.map(({ tokens, flops }) => [tokens, flops / 1e6])).toEqual([
    [(16 + 4 + 4) / 3, 36], // all the picture in its first layer
    [(16 + 8 + 8) / 3, 44],
    [16, 60],
  ]);
  expect(accuracyAt(vtc, 40e6)).toBeCloseTo(0.7);
  expect(accuracyAt(vtc, 44e6)).toBe(0.8);
  expect(accuracyAt(vtc, 48e6)).toBeCloseTo(0.825);
  expect(accuracyAt(vtc, 60e6)).toBe(0.9);
  expect(accuracyAt(vtc, 35e6)).toBeUndefined();
  expect(accuracyAt(vtc, 61e6)).toBeUndefined();
  expect(random.points.map(({ flops }) => flops / 1e6)).toEqual([24, 36, 60]);
});

test('the tables tell accuracies at equal tokens and equal FLOPs, the baselines, costs and the focus', () => {
  const text = writeMarkdown(results);
  const cellsOf = (section: string, row: string) => {
    const part = text.split('### ').find((part) => part.startsWith(section))!;
    const line = part.split('\n').find((line) => line.startsWith(`| ${row} `))!;
    return line
      .split('|')
      .slice(2, -1)
      .map((cell) => cell.trim());
  };
  expect(text).toContain('- command: `vtc eval …`\n- commit: abc; 2026-01-01\n- backend: wasm; a machine');
  expect(cellsOf('Accuracy at equal tokens', 'method')).toEqual(['16 (100 %)', '8 (50 %)', '4 (25 %)']);
  expect(cellsOf('Accuracy at equal tokens', 'none')).toEqual(['90.0 [70.0, 100.0]', '', '']);
  expect(cellsOf('Accuracy at equal tokens', 'random (2 seeds)').slice(1)).toEqual([
    expect.stringMatching(/^50.0 \[/),
    expect.stringMatching(/^20.0 \[/),
  ]);
  // 36 M is random's at 8 tokens and VTC-CLS's at 4; 24 M is less than VTC-CLS ever takes.
  expect(cellsOf('Accuracy at equal FLOPs', 'vtc-cls')).toEqual(['60.0', '']);
  expect(cellsOf('Accuracy at equal FLOPs', 'random')).toEqual(['50.0', '20.0']);
  expect(cellsOf('Accuracy by question type', 'none, grey picture').slice(0, 3)).toEqual([
    '16',
    expect.stringMatching(/^30.0 \[/),
    expect.stringMatching(/^75.0 ±/),
  ]);
  expect(cellsOf('Accuracy by question type', 'none, next picture')[1]).toMatch(/^20.0 /);
  expect(cellsOf('Cost of a question', 'vtc-cls')).toEqual([
    '8',
    '20.0 × 1, 12.0 × 2',
    '44.0',
    '73.3',
    '44.0',
    '73.3',
  ]);
  expect(cellsOf('Milliseconds of a question', 'vtc-cls')).toEqual(['8', '3.00', '2.00', '1.00', '6.00']);
  expect(cellsOf('Where [CLS] looks', 'layer 1')).toEqual(['70.0', '7.0 ×']);
});

test('where the question says how deep a picture goes, a table tells', () => {
  expect(writeMarkdown(results)).not.toContain('How deep the picture goes');
  const deep = rows.map((row) => (row.series === 'vtc-cls' ? { ...row, depths: [0.25, 0.5, 0.25] } : row));
  const text = writeMarkdown({ ...results, rows: deep });
  expect(text).toMatch(/### How deep the picture goes[^#]*\| method +\| tokens \| +1 \| +2 \| +3 \|/);
  expect(text).toMatch(/### How deep the picture goes[^#]*\| vtc-cls +\| +8 \| +25.0 \| +50.0 \| +25.0 \|/);
});

test('the curves are an SVG with both axes, every series and the baselines', async () => {
  const svg = await drawCurves(results);
  expect(svg).toMatch(/^<svg[^>]*>/);
  const told = [
    'vtc-cls',
    'random',
    'none, grey picture',
    "visual tokens of 16, mean over the decoder's layers",
    'MFLOPs to read a prompt',
    'methods before the decoder',
  ];
  for (const text of told) expect(svg).toContain(text);
  expect(svg).not.toContain('between the decoder');
});

test('twenty methods on both sides: a row and a legend for each side', async () => {
  const many = Array.from({ length: 24 }, (_, i) => `method-${String.fromCharCode(97 + i)}`);
  const row = rows.find(({ series }) => series === 'vtc-cls')!;
  const all = many.flatMap((series, i) =>
    [4, 8].map((budget) => ({
      ...row,
      series,
      budget,
      stage: i < 12 ? ('before' as const) : ('between' as const),
    })),
  );
  const svg = await drawCurves({
    ...results,
    rows: [...rows.filter(({ series }) => series === 'none'), ...all],
  });
  expect(svg.match(/role-legend"/g)).toHaveLength(2);
  for (const name of many) expect(svg.split(`>${name}<`), name).toHaveLength(2); // in one legend
  for (const side of ['before the decoder', "between the decoder's layers"])
    expect(svg).toContain(`>methods ${side}<`);
});
