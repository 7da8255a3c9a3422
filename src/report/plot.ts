import type { TopLevelSpec } from 'vega-lite';

/** Draws a Vega-Lite chart as an SVG file's text. The library is loaded at the first call: few commands draw. */
export async function renderSvg(chart: TopLevelSpec): Promise<string> {
  const [{ parse, View }, { compile }] = await Promise.all([import('vega'), import('vega-lite')]);
  return new View(parse(compile(chart).spec), { renderer: 'none' }).toSVG();
}
