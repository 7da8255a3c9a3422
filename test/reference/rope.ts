import type { DecoderConfig } from '../../src/decoder/config.ts';
import type { Vector } from './ops.ts';

/** θᵢ of each channel pair. Llama 3.1's rule is written with wavelengths here, λ = 2π/θ. */
export function frequencies({ head_dim, rope_theta, rope_scaling }: DecoderConfig): Vector {
  return Array.from({ length: head_dim / 2 }, (_, i) => {
    const theta = 1 / Math.pow(rope_theta, (2 * i) / head_dim);
    if (rope_scaling.rope_type === 'default') return theta;
    const squeezed = theta / rope_scaling.factor;
    if (rope_scaling.rope_type === 'linear') return squeezed;
    const context = rope_scaling.original_max_position_embeddings;
    const wavelength = (2 * Math.PI) / theta;
    const longest = context / rope_scaling.low_freq_factor;
    const shortest = context / rope_scaling.high_freq_factor;
    if (wavelength < shortest) return theta;
    if (wavelength > longest) return squeezed;
    // Between the two, linear in the turns a context: 1/λ runs from 1/longest to 1/shortest.
    const share = (1 / wavelength - 1 / longest) / (1 / shortest - 1 / longest);
    return squeezed + share * (theta - squeezed);
  });
}

/** Hugging Face's layout: channels i and i + C/2 are one complex number, turned by the angle position·θᵢ. */
export function rotateHalf(x: Vector, position: number, theta: Vector): Vector {
  const half = x.length / 2;
  const y = [...x];
  for (let i = 0; i < half; i++) {
    [y[i], y[i + half]] = turn(x[i], x[i + half], position * theta[i]);
  }
  return y;
}

/** The paper's layout: channels 2i and 2i + 1 are one complex number. */
export function rotateInterleaved(x: Vector, position: number, theta: Vector): Vector {
  const y = [...x];
  for (let i = 0; i < x.length / 2; i++) {
    [y[2 * i], y[2 * i + 1]] = turn(x[2 * i], x[2 * i + 1], position * theta[i]);
  }
  return y;
}

/** Interleaved channels in rotate-half order: first the even ones, then the odd ones. */
export function deinterleave(x: Vector): Vector {
  return [...x.filter((_, c) => c % 2 === 0), ...x.filter((_, c) => c % 2 === 1)];
}

/** (re + i·im)·e^(i·angle) */
function turn(re: number, im: number, angle: number): [number, number] {
  const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
  return [re * cos - im * sin, re * sin + im * cos];
}
