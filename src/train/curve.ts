import { writeText } from '../node/files.ts';
import { renderSvg } from '../report/plot.ts';
import { readMetrics } from './metrics.ts';

/** Points of the loss curve: each is the mean of as many steps as it takes. */
const points = 200;

/**
 * Draws a run's metrics as SVG: the loss, and below it each figure of the validation split.
 * @param source the metrics, JSON lines
 */
export async function drawCurve(source: string, file: string, title: string): Promise<void> {
  const metrics = await readMetrics(source);
  const width = Math.ceil(metrics.length / points);
  const loss = Array.from({ length: Math.ceil(metrics.length / width) }, (_, i) => {
    const some = metrics.slice(i * width, (i + 1) * width);
    return { step: some.at(-1)!.step, loss: some.reduce((sum, line) => sum + line.loss, 0) / some.length };
  });
  const figures = metrics.flatMap(({ step, validation }) =>
    Object.entries(validation ?? {})
      .filter(([name]) => name !== 'loss')
      .map(([name, value]) => ({ step, name, value })),
  );
  const x = { field: 'step', type: 'quantitative' as const, title: 'step' };
  const y = { type: 'quantitative' as const };
  const svg = await renderSvg({
    background: 'white',
    title: { text: title, anchor: 'start' },
    vconcat: [
      {
        width: 520,
        height: 200,
        data: { values: loss },
        mark: 'line',
        encoding: { x, y: { ...y, field: 'loss', scale: { type: 'sqrt' }, title: 'training loss' } },
      },
      {
        width: 520,
        height: 240,
        data: { values: figures },
        mark: { type: 'line', point: true },
        encoding: {
          x,
          y: { ...y, field: 'value', scale: { domain: [0, 1] }, title: 'on the validation split' },
          color: { field: 'name', title: null, sort: null, scale: { scheme: 'tableau20' } },
        },
      },
    ],
  });
  await writeText(file, svg);
}
