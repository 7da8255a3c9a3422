import type { ActivationName } from '../../src/tensor/activation.ts';
import type { ProjectorWeights } from '../../src/projector.ts';
import type { Arrays } from '../support/random.ts';
import { activate, linear, type Matrix } from './ops.ts';

export function project(
  { linear_1, linear_2 }: Arrays<ProjectorWeights>,
  features: Matrix,
  act: ActivationName,
): Matrix {
  const x = linear(features, linear_1);
  return linear_2 ? linear(activate(x, act), linear_2) : x;
}
