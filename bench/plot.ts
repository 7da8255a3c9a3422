/** A run's results as a picture as wide as a README. */
import type { TopLevelSpec } from 'vega-lite';
import { renderSvg } from '../src/report/plot.ts';
import { median, range } from './harness.ts';
import { shareOfMachine } from './machine.ts';
import type { Results } from './report.ts';

/** A runner keeps its colour and its mark from one plot to the next. */
const looks = [
  ['tensorflow', '#d1495b', 'circle'],
  ['wasm', '#7b4fa3', 'square'],
  ['cpu', '#666666', 'cross'],
  ['torch eager', '#00798c', 'triangle-up'],
  ['torch sdpa', '#30a5bf', 'triangle-down'],
  ['onnxruntime', '#e08e1b', 'diamond'],
];

/** How fast everything runs as a share of the machine's rate, and a prefill's time against its visual tokens. */
export function plot({ measurements, machine }: Results): Promise<string> {
  const shown = measurements.filter(
    ({ group, floor, over }) => !floor && !over && !group.startsWith('machine'),
  );
  // Of a group measured at two depths the deeper one comes last and is the one drawn.
  const deepest = shown.filter(({ group }) => group.startsWith('decoder')).at(-1)?.group;
  const rows = shown
    .filter(({ group }) => !group.startsWith('decoder') || group === deepest)
    .map((m) => {
      const [low, high] = range(m.milliseconds);
      const visual = /^prefill (\d+) /.exec(m.name)?.[1];
      const share = 100 * (shareOfMachine(m, measurements) ?? NaN);
      const who = m.runner === 'torch' ? 'torch eager' : m.runner; // one way where there is no attention
      return { name: m.name, who, time: median(m.milliseconds), low, high, share, U: Number(visual) };
    });
  const present = looks.filter(([name]) => rows.some(({ who }) => who === name));
  const [domain, colours, marks] = [0, 1, 2].map((part) => present.map((look) => look[part]));
  const legend = { title: null, columns: 3, orient: 'top' as const, labelFontSize: 12, symbolSize: 90 };
  const color = { field: 'who', scale: { domain, range: colours }, legend };
  const shape = { field: 'who', scale: { domain, range: marks }, legend };
  const label = { labelFontSize: 11, titleFontSize: 12, titleFontWeight: 'normal' as const };
  const U = {
    field: 'U',
    type: 'quantitative' as const,
    title: 'visual tokens kept, U',
    axis: { ...label, values: [...new Set(rows.map((row) => row.U).filter(Number.isFinite))] },
  };
  const milliseconds = { type: 'quantitative' as const, title: 'ms, median and range', axis: label };
  const spec: TopLevelSpec = {
    background: 'white',
    padding: 12,
    title: {
      text: 'Share of the machine’s own rate: matmul, or memory where bytes bound',
      subtitle: `${machine.cpu}, ${machine.cores} cores, ${machine.date.slice(0, 10)}; further right is better`,
      anchor: 'start',
      fontSize: 13,
      subtitleFontSize: 11,
      offset: 8,
    },
    data: { values: rows },
    vconcat: [
      {
        width: 420,
        height: { step: 22 },
        mark: { type: 'point', filled: true, size: 80, opacity: 0.9 },
        encoding: {
          y: { field: 'name', title: null, sort: null, axis: { ...label, labelLimit: 500, grid: true } },
          x: { field: 'share', type: 'quantitative', title: '% of the machine’s rate', axis: label },
          color,
          shape,
        },
      },
      {
        width: 420,
        height: 260,
        title: { text: deepest ? `Prefill: ${deepest}` : 'Prefill', anchor: 'start', fontSize: 13 },
        transform: [{ filter: 'isValid(datum.U)' }],
        encoding: { x: U, color },
        layer: [
          { mark: 'line', encoding: { y: { field: 'time', ...milliseconds } } },
          { mark: 'rule', encoding: { y: { field: 'low', ...milliseconds }, y2: { field: 'high' } } },
          {
            mark: { type: 'point', filled: true, size: 80, opacity: 0.9 },
            encoding: { y: { field: 'time', ...milliseconds }, shape },
          },
        ],
      },
    ],
  };
  return renderSvg(spec);
}
