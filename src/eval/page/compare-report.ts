/** A comparison of methods as a contact sheet, and as one page that needs nothing beside it. */
import { stageNames } from '../../compress/method.ts';
import { encodePngBytes } from '../../node/decode.ts';
import type { Picture } from '../../image/picture.ts';
import { drawSheet, drawSquare, type Panel, type PatchGrid } from '../../report/heatmap.ts';
import { wasAnswered, wasRefused, type Compared, type Refused } from '../run/compare.ts';
import { formatLayers } from './report.ts';

export interface ComparisonPage {
  question: string;
  /** What else a reader may ask: model, budget, backend; name → value. */
  facts: Record<string, string>;
  /** What the model saw. */
  picture: Picture;
  patches: PatchGrid;
  rows: readonly (Compared | Refused)[];
  /** A row's answer in words. */
  formatAnswer: (row: Compared) => string;
}

/** The words of a row, as the sheet, the page and the terminal show them. */
export function describeRow(row: Compared, formatAnswer: ComparisonPage['formatAnswer']) {
  const answer = formatAnswer(row).replaceAll(/\s+/g, ' ').trim();
  return {
    answer: /[^\s\p{Cf}]/u.test(answer) ? answer : '(nothing)', // marks without width show nothing either
    probability: row.probability.toPrecision(3),
    milliseconds: row.milliseconds.toFixed(1),
    layers: formatLayers(row.layerTokens, 0),
  };
}

/** What is laid over the picture: the patches that stay, those that became one token together, or a sign that none do. */
const panelOf = ({ kept, made, groups }: Compared): Omit<Panel, 'title'> =>
  made > 0 ? { groups } : kept.length === 0 ? { kept, sign: 'no patch to the end' } : { kept };

/** A square for each method, its answer, the answer's probability and the time under it. */
export function drawComparison({ picture, patches, rows, formatAnswer }: ComparisonPage): Promise<Picture> {
  const panels = rows.map((row): Panel => {
    const title = row.variant.name;
    if (wasRefused(row))
      return { title, kept: [], sign: 'not possible here', notes: wrap(row.reason, 34).slice(0, 3) };
    const { answer, probability, milliseconds, layers } = describeRow(row, formatAnswer);
    return {
      title,
      ...panelOf(row),
      notes: [shorten(answer, 34), `p ${probability}, ${milliseconds} ms`, `tokens ${layers}`],
    };
  });
  return drawSheet(picture, patches, panels);
}

const shorten = (text: string, length: number) =>
  text.length > length ? `${text.slice(0, length - 1)}…` : text;

/** Lines of whole words. */
function wrap(text: string, length: number): string[] {
  const lines = [''];
  for (const word of text.split(' ')) {
    if (lines.at(-1) !== '' && `${lines.at(-1)} ${word}`.length > length) lines.push(word);
    else lines.push(`${lines.pop()} ${word}`.trim());
  }
  return lines;
}

/** Pictures and style are in the page itself; it has no script. */
export async function writeComparisonPage(page: ComparisonPage): Promise<string> {
  const { question, facts, picture, patches, rows, formatAnswer } = page;
  const done = rows.filter(wasAnswered);
  const refused = rows.filter(wasRefused);
  const cards = await Promise.all(
    done.map(async (row) => {
      const { method, name } = row.variant;
      const { answer, probability, milliseconds, layers } = describeRow(row, formatAnswer);
      const square = await drawSquare(picture, patches, panelOf(row));
      const told = {
        'p of the full answer': probability,
        'time': `${milliseconds} ms`,
        'tokens by layer': layers,
        'patches': formatKept(row),
      };
      return `<figure>
<h2>${escape(name)}</h2>
<img alt="${escape(formatKept(row))}" src="${await dataUrl(square)}">
<figcaption><p class="answer">${escape(answer)}</p>
${list(told)}
<p class="paper">${escape(method.stages.map((stage) => stageNames[stage]).join(' and '))}; ${escape(method.paper)}</p></figcaption>
</figure>`;
    }),
  );
  const missing = Object.fromEntries(refused.map(({ variant, reason }) => [variant.name, reason]));
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>${escape(question)}</title>
<style>${style}</style>
</head>
<body>
<header><img alt="what the model sees" src="${await dataUrl(await drawSquare(picture, patches, {}))}">
<div><h1>${escape(question)}</h1>
${list(facts)}</div></header>
<main>
${cards.join('\n')}
</main>
${refused.length > 0 ? `<h2>Not possible with this model and budget</h2>\n${list(missing)}\n` : ''}</body>
</html>
`;
}

const style = `
body { font: 15px/1.4 sans-serif; margin: 2em; color: #222; }
header, main { display: flex; flex-wrap: wrap; gap: 1.5em; }
main { margin-top: 1.5em; }
figure { margin: 0; width: 240px; }
img { width: 224px; image-rendering: pixelated; }
h1 { font-size: 1.5em; margin: 0 0 .5em; }
h2 { font-size: 1em; margin: 0 0 .3em; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1em .8em; margin: .3em 0; }
dt { color: #666; } dd { margin: 0; }
.answer { font-size: 1.2em; margin: .3em 0; }
.paper { color: #666; font-size: .85em; margin: .3em 0; }`;

function formatKept({ kept, made }: Compared): string {
  const parts = [];
  if (kept.length > 0 || made === 0) parts.push(`${kept.length} kept`);
  if (made > 0) parts.push(`${made} new`);
  return parts.join(', ');
}

const list = (facts: Record<string, string>): string =>
  `<dl>${Object.entries(facts)
    .map(([name, value]) => `<dt>${escape(name)}</dt><dd>${escape(value)}</dd>`)
    .join('')}</dl>`;

const dataUrl = async (picture: Picture): Promise<string> =>
  `data:image/png;base64,${(await encodePngBytes(picture)).toString('base64')}`;

const escape = (text: string): string =>
  text.replace(/[&<>"]/g, (c) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[c]!);
