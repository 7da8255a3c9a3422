import type { TopLevelSpec } from 'vega-lite';

/** Draws a Vega-Lite chart as an SVG file's text. The library is loaded at the first call: few commands draw. */
export async function renderSvg(chart: TopLevelSpec): Promise<string> {
  const [{ parse, View }, { compile }] = await Promise.all([import('vega'), import('vega-lite')]);
  const svg = await new View(parse(compile(chart).spec), { renderer: 'none' }).toSVG();
  return svg.replaceAll(/(?![\t\n\r])\p{Cc}|\p{Surrogate}|[\uFFFE\uFFFF]/gu, '\uFFFD'); // a name from data may hold what XML may not
}
