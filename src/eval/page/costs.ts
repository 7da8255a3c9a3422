/** Accuracy against what it costs: tokens and FLOPs. */
import { visualTokenCount, type LlavaConfig } from '../../checkpoint/architecture.ts';
import { prefillMacs } from '../../cost.ts';
import type { ImagePrompt } from '../../text/prompt.ts';
import { patchCount } from '../../vision/config.ts';
import { mean, type Accuracy } from '../task/score.ts';
import type { Row } from './summary.ts';

/** A series' accuracy against what it costs. */
export interface Curve {
  series: string;
  /** Which chart it is in: of methods that act before the decoder or between its layers. */
  side: 'before' | 'between';
  /** Visual tokens are the actual ones, mean over the decoder's layers. */
  points: { tokens: number; flops: number; accuracy: Accuracy }[];
}

/**
 * The curve of each series, ending at the uncompressed model: what a method becomes when it keeps every patch.
 * @param textTokens what a prompt has without its picture, mean over the questions
 */
export function curvesOf({ rows, textTokens }: { rows: readonly Row[]; textTokens: number }): Curve[] {
  const shown = rows.filter(({ pictures }) => pictures === 'own');
  const full = shown.find(({ series }) => series === 'none');
  const names = [...new Set(shown.map(({ series }) => series))].filter((name) => name !== 'none');
  return names.map((series) => {
    const own = shown.filter((row) => row.series === series);
    const isWhole = !full || own.some(({ budget }) => budget === full.budget);
    const points = (isWhole ? own : [...own, full]).map(({ layerTokens, prefillFlops, overall }) => ({
      tokens: mean(layerTokens) - textTokens,
      flops: prefillFlops,
      accuracy: overall,
    }));
    return {
      series,
      side: own[0].stage === 'between' ? 'between' : 'before',
      points: points.sort((a, b) => a.flops - b.flops),
    };
  });
}

/** A curve's accuracy at so many FLOPs, on the line between its neighbouring points; undefined beyond its ends. */
export function accuracyAt({ points }: Curve, flops: number): number | undefined {
  const after = points.findIndex((point) => point.flops >= flops * (1 - 1e-9));
  if (after < 0) return undefined;
  const right = points[after];
  if (right.flops <= flops * (1 + 1e-9)) return right.accuracy.accuracy;
  if (after === 0) return undefined;
  const left = points[after - 1];
  const share = (flops - left.flops) / (right.flops - left.flops);
  return left.accuracy.accuracy + share * (right.accuracy.accuracy - left.accuracy.accuracy);
}

/** FLOPs of reading a prompt whose picture takes so many patches through every decoder layer, mean over the prompts. */
export function flopsWith(config: LlavaConfig, prompts: readonly ImagePrompt[], budget: number): number {
  const visual = visualTokenCount(config) - patchCount(config.vision) + budget; // and [CLS], where it is kept
  return mean(
    prompts.map(({ before, after }) => {
      const tokens = before.length + visual + after.length;
      return 2 * prefillMacs(config.text, Array(config.text.num_hidden_layers).fill(tokens) as number[]);
    }),
  );
}

/** Tokens of a prompt without its patches, mean over the prompts: a [CLS] that the checkpoint keeps is among them. */
export const textTokens = (config: LlavaConfig, prompts: readonly ImagePrompt[]): number =>
  mean(prompts.map(({ before, after }) => before.length + after.length)) +
  visualTokenCount(config) -
  patchCount(config.vision);
