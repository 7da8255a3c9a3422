/** An evaluation's results as Markdown; as curves in curves.ts. */
import { escapeMarkdown, markdownCode, markdownTable } from '../../report/markdown.ts';
import type { Focus } from '../run/focus.ts';
import type { Filling } from '../run/fill.ts';
import type { Estimate } from '../task/bootstrap.ts';
import type { Accuracy } from '../task/score.ts';
import { accuracyAt, curvesOf } from './costs.ts';
import type { Comparisons, Row } from './summary.ts';

/** All that `results.json` holds. */
export interface Results {
  task: string;
  questions: number;
  pictures: number;
  /** Several where a table is of models trained alike under other seeds. */
  models: string[];
  /** What the places of dropped patches were filled with. */
  fill: Filling;
  /** What rows were held against, and what made a question hard. */
  comparisons: Comparisons;
  /** P, visual tokens of an uncompressed picture. */
  patches: number;
  /** Tokens of a prompt without its picture, mean over the questions. */
  textTokens: number;
  command: string;
  /** Several where an evaluation was taken up again under another. */
  commits: string[];
  backends: string[];
  machines: string[];
  date: string;
  /** Per budget, the FLOPs of a prompt that carries so many visual tokens through every layer, mean over questions. */
  flopsAtBudget: { budget: number; flops: number }[];
  rows: Row[];
  focus?: Focus;
}

const percent = (share: number): string => (100 * share).toFixed(1);
const withRange = ({ accuracy, low, high }: Accuracy): string =>
  `${percent(accuracy)} [${percent(low)}, ${percent(high)}]`;
/** The same, and the models' own from least to greatest. */
const withModels = ({ overall, range: [least, most], models }: Row): string =>
  withRange(overall) + (models > 1 ? ` (${percent(least)} to ${percent(most)})` : '');
const points = ({ mean, low, high }: Estimate): string => `${signed(mean)} [${signed(low)}, ${signed(high)}]`;
const signed = (share: number): string => (share > 0 ? '+' : '') + percent(share);
const withMargin = ({ accuracy, low, high }: Accuracy): string =>
  `${percent(accuracy)} ±${percent((high - low) / 2)}`;
const mega = (flops: number): string => (flops / 1e6).toFixed(1);
const kibi = (bytes: number): string => (bytes / 1024).toFixed(1);

export const nameOf = ({ series, pictures, seeds }: Pick<Row, 'series' | 'pictures' | 'seeds'>): string => {
  if (pictures === 'grey') return `${series}, grey picture`;
  if (pictures === 'wrong') return `${series}, next picture`;
  return seeds > 1 ? `${series} (${seeds} seeds)` : series;
};

export function writeMarkdown(results: Results): string {
  const { rows, focus } = results;
  const parts = [
    headline(results),
    `### Accuracy at equal tokens\n\n${rows.some(({ half }) => half) ? 'Accuracy is the overlap of the boxes, intersection over union: its mean' : 'Per cent of all questions'}, ` +
      `with 95 % intervals by bootstrap over the pictures${results.models.length > 1 ? `; means over ${results.models.length} models, and the least and the greatest` : ''}.\n\n${tokensTable(results)}`,
    ...halfPart(results),
    ...comparedParts(results),
    `### Accuracy at equal FLOPs\n\nOn the line between a method's neighbouring points, where it has some on both sides. The FLOPs ` +
      `are those of reading a prompt that carries so many visual tokens through every decoder layer.\n\n${flopsTable(results)}`,
    ...(rows.some(({ pope }) => pope) ? [`### POPE\n\n${popeTable(rows)}`] : []),
    `### Accuracy by question type\n\n${kindsTable(rows, ({ byType }) => byType)}`,
    ...aboutPart(rows),
    `### What kind of answer\n\n${answersTable(rows)}`,
    `### Cost of a question\n\nMeans over the questions: tokens in each decoder layer after the prompt, text and picture; ` +
      `FLOPs of reading it; its keys and values in float32.\n\n${costTable(rows)}`,
    ...depthsPart(rows),
    `### Milliseconds of a question\n\nMeasured, in batches: seeing a picture, the tower and the method's part before the ` +
      `decoder together, as if for this method alone; reading a prompt (prefill); writing the answer (decode).\n\n${timesTable(rows)}`,
  ];
  parts.push(...keptPart(results));
  if (focus) parts.push(focusPart(focus));
  return parts.join('\n\n') + '\n';
}

function headline({ task, questions, pictures, models, patches, fill, ...made }: Results): string {
  return [
    `${escapeMarkdown(task)}: ${questions} questions about ${pictures} pictures, ${patches} visual tokens each. ` +
      `Model${models.length > 1 ? 's' : ''}: ${models.map(escapeMarkdown).join(', ')}.`,
    '',
    ...(fill === 'none'
      ? []
      : [
          '**A probe, no compression**: the places of dropped patches hold what the tower makes of a picture in which nothing stands.',
          '',
        ]),
    `- command: ${markdownCode(made.command)}`,
    `- commit: ${escapeMarkdown(made.commits.join(', '))}; ${made.date}`,
    `- backend: ${escapeMarkdown(made.backends.join(', '))}; ${escapeMarkdown(made.machines.join(' + '))}`,
  ].join('\n');
}

/** Series down, budgets across. */
function tokensTable({ rows, patches }: Results, cellOf = withModels): string {
  const own = rows.filter(({ pictures }) => pictures === 'own');
  const budgets = [...new Set(own.map(({ budget }) => budget))].sort((a, b) => b - a);
  const series = [...new Set(own.map((row) => row.series))];
  const head = ['method', ...budgets.map((U) => `${U} (${Number(((100 * U) / patches).toFixed(2))} %)`)];
  const lines = series.map((name) => {
    const line = own.filter((row) => row.series === name);
    const cells = budgets.map((U) => line.find(({ budget }) => budget === U));
    return [nameOf(line[0]), ...cells.map((row) => (row ? cellOf(row) : ''))];
  });
  return markdownTable(head, lines, 1);
}

/** Boxes that are right, where the task is of boxes. */
function halfPart(results: Results): string[] {
  if (!results.rows.some(({ half }) => half)) return [];
  const table = tokensTable(results, ({ half }) => withRange(half!));
  return [
    `### Overlap above one half\n\nPer cent of all boxes, with 95 % intervals by bootstrap over the pictures.\n\n${table}`,
  ];
}

/** Rows against one series, and on hard questions; where either was asked for. */
function comparedParts({ rows, comparisons: { against, hard } }: Results): string[] {
  const parts: string[] = [];
  const held = rows.filter((row) => row.against);
  if (against !== undefined) {
    const lines = held.map((row) => [nameOf(row), String(row.budget), points(row.against!)]);
    parts.push(
      `### Against ${escapeMarkdown(against)}\n\nPoints more or fewer on the same questions, paired, with 95 % intervals by bootstrap over ` +
        `the pictures.\n\n${markdownTable(['method', 'tokens', 'difference'], lines, 1)}`,
    );
  }
  if (hard !== undefined) {
    const cell = (accuracy?: Accuracy) => (accuracy ? `${withRange(accuracy)}, n ${accuracy.n}` : '');
    const lines = rows.flatMap((row) =>
      row.hard ? [[nameOf(row), String(row.budget), cell(row.hard.hard), cell(row.hard.rest)]] : [],
    );
    parts.push(
      `### Hard questions\n\nThose that the uncut model answers rightly and ${escapeMarkdown(hard)} with as many tokens does not; and ` +
        `all others.\n\n${markdownTable(['method', 'tokens', 'hard', 'others'], lines, 1)}`,
    );
  }
  return parts;
}

/** How deep pictures go, where a method leaves that to the question. */
function depthsPart(rows: readonly Row[]): string[] {
  const deep = rows.filter(({ depths }) => depths);
  if (deep.length === 0) return [];
  const head = ['method', 'tokens', ...deep[0].depths!.map((_, l) => String(l + 1))];
  const lines = deep.map((row) => [nameOf(row), String(row.budget), ...row.depths!.map(percent)]);
  return [
    `### How deep the picture goes\n\nPer cent of the questions whose picture was in so many decoder layers.\n\n${markdownTable(head, lines, 1)}`,
  ];
}

/** How wrong answers are wrong, and how near the uncut model the others are. */
function answersTable(rows: readonly Row[]): string {
  const share = (accuracy?: Accuracy) => (accuracy ? withRange(accuracy) : '');
  const head = ['method', 'tokens', 'off-type', 'restricted', 'loyalty', 'KL'];
  const lines = rows.map(({ offType, restricted, loyalty, kl, ...row }) => [
    nameOf(row),
    String(row.budget),
    offType === undefined ? '' : percent(offType),
    share(restricted),
    share(loyalty),
    kl === undefined ? '' : kl.toFixed(3),
  ]);
  return (
    'Off-type: answers that no question of the type has. Restricted: right where the model must take one of those, the likeliest ' +
    "by its first token. Loyalty: the uncut model's answer, right or wrong. KL: of the first token, from the uncut model's, in nats.\n\n" +
    markdownTable(head, lines, 1)
  );
}

/** Sinks among what is kept; the places are in kept.svg. */
function keptPart({ rows, patches }: Results): string[] {
  const counted = rows.filter(({ kept, pictures }) => kept && pictures === 'own');
  if (counted.length === 0) return [];
  const lines = counted.map((row) => {
    const { shares, sinks } = row.kept!;
    const [least, most] = [Math.min(...shares), Math.max(...shares)];
    const all = shares.reduce((sum, share) => sum + share, 0);
    return [nameOf(row), String(row.budget), all.toFixed(1), percent(sinks), percent(least), percent(most)];
  });
  const head = ['method', 'tokens', 'patches', '% sinks', '% least kept', '% most kept'];
  return [
    `### Which patches stay\n\nOf the ${patches} patches, how many the decoder's last layer has as themselves; how many of those are sinks ` +
      '(a feature norm above Q₃ + 1.5·IQR of its picture); and for how many questions the least and the most kept place was kept. ' +
      `Each place is in kept.svg.\n\n${markdownTable(head, lines, 1)}`,
  ];
}

function flopsTable(results: Results): string {
  const { flopsAtBudget } = results;
  const head = ['method', ...flopsAtBudget.map(({ budget, flops }) => `${mega(flops)} M (${budget} tokens)`)];
  const lines = curvesOf(results).map((curve) => {
    const found = flopsAtBudget.map(({ flops }) => accuracyAt(curve, flops));
    return [curve.series, ...found.map((accuracy) => (accuracy === undefined ? '' : percent(accuracy)))];
  });
  return markdownTable(head, lines, 1);
}

function kindsTable(rows: readonly Row[], of: (row: Row) => Record<string, Accuracy>): string {
  const kinds = Object.keys(of(rows[0]));
  const head = ['method', 'tokens', 'overall', ...kinds];
  const lines = rows.map((row) => [
    nameOf(row),
    String(row.budget),
    withRange(row.overall),
    ...kinds.map((kind) => withMargin(of(row)[kind])),
  ]);
  const counts = kinds.map((kind) => `${of(rows[0])[kind].n} ${escapeMarkdown(kind)}`).join(', ');
  return `Of ${counts}; half of the 95 % interval after each.\n\n${markdownTable(head, lines, 1)}`;
}

/** By the kind of thing that is asked about, where the task tells. */
function aboutPart(rows: readonly Row[]): string[] {
  if (Object.keys(rows[0].byAbout).length === 0) return [];
  const table = kindsTable(rows, ({ byAbout }) => byAbout);
  return [
    `### Accuracy by what is asked about\n\nQuestions that speak of one thing, by what it is. ${table}`,
  ];
}

function timesTable(rows: readonly Row[]): string {
  const head = ['method', 'tokens kept', 'see', 'prefill', 'decode', 'all three'];
  const lines = rows
    .filter(({ pictures }) => pictures === 'own')
    .map((row) => {
      const { see, prefill, decode } = row.milliseconds;
      const times = [see, prefill, decode, see + prefill + decode].map((time) => time.toFixed(2));
      return [nameOf(row), String(row.budget), ...times];
    });
  return markdownTable(head, lines, 1);
}

/** As POPE's script prints them. */
function popeTable(rows: readonly Row[]): string {
  const head = ['method', 'tokens', 'accuracy', 'precision', 'recall', 'F1', '% yes'];
  const lines = rows.map((row) => {
    const { accuracy, precision, recall, f1, yesRatio } = row.pope!;
    return [nameOf(row), String(row.budget), ...[accuracy, precision, recall, f1, yesRatio].map(percent)];
  });
  return markdownTable(head, lines, 1);
}

function costTable(rows: readonly Row[]): string {
  const own = rows.filter(({ pictures }) => pictures === 'own');
  const full = own.find(({ series }) => series === 'none');
  const head = ['method', 'tokens kept', 'tokens by layer', 'MFLOPs', '% of full', 'KV KiB', '% of full'];
  const lines = own.map((row) => {
    const share = (of: 'prefillFlops' | 'cacheBytes') => (full ? percent(row[of] / full[of]) : '');
    return [
      nameOf(row),
      String(row.budget),
      formatLayers(row.layerTokens),
      mega(row.prefillFlops),
      share('prefillFlops'),
      kibi(row.cacheBytes),
      share('cacheBytes'),
    ];
  });
  return markdownTable(head, lines, 1);
}

/** `41.3 × 6`, or where layers differ `116.3 × 2, 41.3 × 4` */
export function formatLayers(layerTokens: readonly number[], digits = 1): string {
  const runs: { text: string; layers: number }[] = [];
  for (const tokens of layerTokens) {
    const text = tokens.toFixed(digits);
    if (runs.at(-1)?.text === text) runs.at(-1)!.layers++;
    else runs.push({ text, layers: 1 });
  }
  return runs.map(({ text, layers }) => `${text} × ${layers}`).join(', ');
}

function focusPart({ patches, chance, shares }: Focus): string {
  const lines = Object.entries(shares).map(([name, share]) => [
    name,
    percent(share),
    `${(share / chance).toFixed(1)} ×`,
  ]);
  return (
    `### Where [CLS] looks\n\nOf the ${patches} patches that [CLS] attends to most, the share that an object touches; ` +
    `of all patches it is ${percent(chance)} %.\n\n` +
    markdownTable(['ranked by', '% on objects', 'over chance'], lines, 1)
  );
}
