/** How often each patch was kept, method by method: whether one has favourites among the places. */
import type { TopLevelSpec } from 'vega-lite';
import { renderSvg } from '../../report/plot.ts';
import { nameOf, type Results } from './report.ts';

/** Maps side by side in a row. */
const perRow = 5;

/** A square for each method and budget, shades from never to always; undefined where nothing was counted. */
export async function drawKeptMaps({ rows, patches }: Results): Promise<string | undefined> {
  const counted = rows.filter(
    ({ kept, pictures, series }) => kept && pictures === 'own' && series !== 'none',
  );
  const grid = Math.sqrt(patches);
  if (counted.length === 0 || !Number.isInteger(grid)) return undefined;
  const values = counted.flatMap((row) =>
    row.kept!.shares.map((share, patch) => ({
      map: `${nameOf(row)}, ${row.budget}`,
      x: patch % grid,
      y: Math.floor(patch / grid),
      percent: 100 * share,
    })),
  );
  const axis = { axis: null, type: 'ordinal' as const };
  const chart: TopLevelSpec = {
    background: 'white',
    data: { values },
    facet: { field: 'map', type: 'nominal', sort: null, title: null, header: { labelLimit: 160 } },
    columns: perRow,
    spec: {
      width: 160,
      height: 160,
      mark: 'rect',
      encoding: {
        x: { field: 'x', ...axis },
        y: { field: 'y', ...axis },
        color: {
          field: 'percent',
          type: 'quantitative',
          title: '% kept',
          scale: { scheme: 'cividis', domain: [0, 100] },
        },
      },
    },
  };
  return renderSvg(chart);
}
