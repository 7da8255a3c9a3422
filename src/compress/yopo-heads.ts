/** Which heads hardly look at the picture: what YOPO's option `heads` is found by. */
import type * as tf from '@tensorflow/tfjs-core';
import { prefill } from '../decoder/generate.ts';
import type { Llama } from '../decoder/llama.ts';
import type { DecoderInput } from '../decoder/state.ts';
import { scope } from '../tensor/scope.ts';
import { createTrace } from '../tensor/trace.ts';

/**
 * Of each sample each head's Σ attention(all → image) / Σ attention(all → text): [samples][L][H].
 * @param samples prompts with their pictures, each item of a batch a sample; they stay the caller's
 */
export async function measureHeads(llama: Llama, samples: readonly DecoderInput[]): Promise<number[][][]> {
  const measured: number[][][] = [];
  for (const sample of samples) {
    using own = scope();
    const trace = own(createTrace((name) => name === 'decoder.attention.LL'));
    own(await prefill(llama, sample, { maxNewTokens: 0, trace }));
    const attention = [...trace.tensors.values()] as tf.Tensor4D[]; // of every layer, [B, H, T, T]
    const [, H, T] = attention[0].shape;
    const values = await Promise.all(attention.map((layer) => layer.data()));
    for (const [b, roles] of sample.roles.entries()) {
      const activityOf = (layer: ArrayLike<number>, h: number) => {
        const sums = { image: 0, text: 0 };
        for (let i = 0; i < T; i++) {
          for (const [j, role] of roles.entries()) sums[role] += layer[((b * H + h) * T + i) * T + j];
        }
        return sums.image / sums.text;
      };
      measured.push(values.map((layer) => Array.from({ length: H }, (_, h) => activityOf(layer, h))));
    }
  }
  return measured;
}

/**
 * The inactive heads, as the option `heads` takes them: those above the threshold in no more than a share of the samples.
 * The first `spared` layers keep all.
 * @param activity [samples][L][H], of {@link measureHeads}
 */
export function nameInactiveHeads(
  activity: number[][][],
  threshold: number,
  { share = 0.1, spared = 2 } = {},
): string {
  const names: string[] = [];
  for (const [l, heads] of activity[0].entries()) {
    for (const h of l < spared ? [] : heads.keys()) {
      const above = activity.filter((sample) => sample[l][h] > threshold).length;
      if (above <= share * activity.length) names.push(`${l}.${h}`);
    }
  }
  return names.join('+');
}
