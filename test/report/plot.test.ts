import { expect, test } from 'vitest';
import { renderSvg } from '../../src/report/plot.ts';

test('text of a chart stays text, and the SVG is XML, whatever names hold', async () => {
  const title = { text: '<b>&\u0001\uD800', anchor: 'start' as const };
  const encoding = { x: { field: 'x', type: 'quantitative' as const } };
  const svg = await renderSvg({ title, data: { values: [{ x: 1 }] }, mark: 'point', encoding });
  expect(svg).toContain('>&lt;b&gt;&amp;\uFFFD\uFFFD<');
  expect(svg).not.toMatch(/[\0-\x08]|\p{Surrogate}/u);
});
