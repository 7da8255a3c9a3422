/** An evaluation's results as a picture: accuracy against tokens and against FLOPs. */
import type { TopLevelSpec } from 'vega-lite';
import { renderSvg } from '../../report/plot.ts';
import { nameOf, type Results } from './report.ts';
import { curvesOf, type Curve } from './costs.ts';

/** Ten colours and seven shapes: their pairs differ for 70 curves, and no two neighbours share either. */
const colours = '#4c78a8 #f58518 #e45756 #3a9e96 #54a24b #c9a60c #b279a2 #d1587f #8a6445 #5c5c5c'.split(' ');
const shapes = 'circle square triangle-up diamond cross triangle-down triangle-right'.split(' ');

const quantitative = 'quantitative' as const;

/** Where methods work, as headings of the rows. */
const places = {
  before: 'before the decoder',
  between: "between the decoder's layers",
};

/**
 * Two panels side by side, tokens and FLOPs, with intervals; a row for the methods before the decoder and one for those
 * between its layers, with a legend each. Baselines without the picture are dashed lines.
 */
export function drawCurves(results: Results): Promise<string> {
  const curves = curvesOf(results);
  const sides = (['before', 'between'] as const).filter((side) =>
    curves.some((curve) => curve.side === side),
  );
  const accuracies = curves.flatMap(({ points }) => points.map(({ accuracy }) => accuracy));
  const levels = results.rows.filter(({ pictures }) => pictures !== 'own');
  const values = [
    ...accuracies.flatMap(({ low, high }) => [low, high]),
    ...levels.map(({ overall }) => overall.accuracy),
  ].map((share) => 100 * share);
  const domain = values.length > 0 ? [Math.min(...values), Math.max(...values)] : [0, 100];
  const chart: TopLevelSpec = {
    background: 'white',
    title: { text: results.task, anchor: 'start' },
    vconcat: sides.map((side) => ({
      title: { text: `methods ${places[side]}`, fontWeight: 'normal' as const, anchor: 'start' as const },
      hconcat: [
        drawPanel(
          results,
          side,
          domain,
          'tokens',
          `visual tokens of ${results.patches}, mean over the decoder's layers`,
        ),
        drawPanel(results, side, domain, 'megaflops', 'MFLOPs to read a prompt, all decoder layers'),
      ],
    })),
    resolve: { scale: { color: 'independent', shape: 'independent' } },
  };
  return renderSvg(chart);
}

/** One panel; the rows share the scale of the accuracies, so that they compare. */
function drawPanel(results: Results, side: Curve['side'], domain: number[], field: string, title: string) {
  const curves = curvesOf(results).filter((curve) => curve.side === side);
  const names = curves.map(({ series }) => series);
  const levels = results.rows
    .filter(({ pictures }) => pictures !== 'own')
    .map((row, i) => ({ level: 100 * row.overall.accuracy, label: nameOf(row), end: 378 - 130 * i })); // side by side
  const points = curves.flatMap(({ series, points }) =>
    points.map(({ tokens, flops, accuracy }) => ({
      series,
      tokens,
      megaflops: flops / 1e6,
      accuracy: 100 * accuracy.accuracy,
      low: 100 * accuracy.low,
      high: 100 * accuracy.high,
    })),
  );
  const scale = field === 'tokens' ? { type: 'log' as const, base: 2, nice: false } : { zero: false }; // budgets halve
  const x = { field, type: quantitative, title, scale };
  const y = { type: quantitative, title: '% right', scale: { domain, nice: true, zero: false } };
  const look = (of: readonly string[]) => ({
    field: 'series',
    title: null,
    sort: null,
    legend: { labelLimit: 300, symbolSize: 70, symbolOpacity: 1 },
    scale: { domain: names, range: names.map((_, i) => of[i % of.length]) },
  });
  const color = look(colours);
  return {
    width: 380,
    height: 340,
    data: { values: points },
    layer: [
      {
        data: { values: levels },
        mark: { type: 'rule' as const, strokeDash: [4, 4], color: '#999' },
        encoding: { y: { ...y, field: 'level' } },
      },
      {
        data: { values: levels },
        mark: { type: 'text' as const, align: 'right' as const, dy: -5, color: '#777' },
        encoding: {
          y: { ...y, field: 'level' },
          x: { field: 'end', type: quantitative, scale: null },
          text: { field: 'label' },
        },
      },
      {
        mark: { type: 'rule' as const, opacity: 0.35 },
        encoding: { x, y: { ...y, field: 'low' }, y2: { field: 'high' }, color },
      },
      {
        mark: { type: 'line' as const, strokeWidth: 1.3 },
        encoding: { x, y: { ...y, field: 'accuracy' }, color },
      },
      {
        mark: { type: 'point' as const, filled: true, size: 55, opacity: 1 },
        encoding: { x, y: { ...y, field: 'accuracy' }, color, shape: look(shapes) },
      },
    ],
  };
}
