import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, test } from 'vitest';
import { runGate, type Gate } from '../../src/compress/trained/dyvte.ts';
import { mergeClusters, setok } from '../../src/compress/trained/setok.ts';
import { compareGroups, mergeGroups, vistog } from '../../src/compress/trained/vistog.ts';
import { llamaBlock } from '../../src/decoder/block.ts';
import { readLogits } from '../../src/decoder/llama.ts';
import { applyRope, createRope, ropeAt } from '../../src/decoder/rope.ts';
import { spliceImage } from '../../src/decoder/splice.ts';
import { project } from '../../src/projector.ts';
import { activationNames, activations } from '../../src/tensor/activation.ts';
import { attend, causalMask, mergeHeads, splitHeads } from '../../src/tensor/attention.ts';
import { startBackend } from '../../src/backend/start.ts';
import { gatherTokens } from '../../src/tensor/gather.ts';
import { embed, linear } from '../../src/tensor/linear.ts';
import { layerNorm, rmsNorm } from '../../src/tensor/norm.ts';
import { registerGradients } from '../../src/train/gradients.ts';
import { binaryCrossEntropy, crossEntropy, infoNce } from '../../src/train/losses.ts';
import { assignStraight } from '../../src/train/systems/vistog.ts';
import { runBeside } from '../../src/vision/beside.ts';
import { clipBlock } from '../../src/vision/block.ts';
import { contrast, embedPictures, embedTexts, type Clip } from '../../src/vision/contrastive.ts';
import { clipContrastTable } from '../../src/vision/contrastive.ts';
import { embedImage } from '../../src/vision/embeddings.ts';
import { clipTextTable } from '../../src/vision/text.ts';
import { backendsUnderTest } from '../support/backends.ts';
import { relativeError } from '../support/golden.ts';
import { checkGradients } from '../support/gradients.ts';
import { draw, seededRandom, tidyEachTest, type Random } from '../support/random.ts';
import {
  randomWeights,
  tinyLlama,
  tinyLlamaConfig,
  tinyLlava,
  tinyProjector,
  tinyVision,
  tinyVisionConfig,
} from '../support/tiny.ts';

const backends = ['cpu', ...backendsUnderTest.filter((name) => name === 'tensorflow')];

/** Random numbers of a shape. */
const some = (random: Random, ...shape: number[]): tf.Tensor => tf.tensor(draw(random, shape), shape);

describe.each(backends)('gradients equal finite differences on %s', (backend) => {
  beforeAll(async () => {
    await startBackend(backend);
    registerGradients();
  });
  tidyEachTest();
  const random = seededRandom(7);

  test('linear', () => {
    const inputs = { x: some(random, 2, 3, 4), weight: some(random, 4, 5), bias: some(random, 5) };
    checkGradients(random, inputs, ({ x, ...layer }) =>
      linear(layer as { weight: tf.Tensor2D; bias: tf.Tensor1D }, x),
    );
  });

  test('layerNorm and rmsNorm', () => {
    const inputs = { x: some(random, 2, 3, 5), weight: some(random, 5), bias: some(random, 5) };
    checkGradients(random, inputs, ({ x, weight, bias }) =>
      layerNorm({ weight: weight as tf.Tensor1D, bias: bias as tf.Tensor1D }, x, 0.1),
    );
    checkGradients(random, { x: inputs.x, weight: inputs.weight }, ({ x, weight }) =>
      rmsNorm(weight as tf.Tensor1D, x, 0.1),
    );
  });

  test.each(activationNames)('%s', (name) => {
    // Away from 0, where relu has a corner.
    const x = tf.tensor1d([-2.5, -1.3, -0.4, -0.1, 0.1, 0.3, 1.1, 2.4]);
    checkGradients(random, { x }, (inputs) => activations[name](inputs.x));
  });

  test('attention, masked, with shared key/value heads', () => {
    const inputs = { q: some(random, 2, 4, 5, 3), k: some(random, 2, 2, 5, 3), v: some(random, 2, 2, 5, 3) };
    checkGradients(random, inputs, ({ q, k, v }) => {
      const mask = causalMask(5, 5);
      return attend(q as tf.Tensor4D, k as tf.Tensor4D, v as tf.Tensor4D, { mask }).context;
    });
  });

  test('splitting and merging heads, and choosing tokens', () => {
    checkGradients(random, { x: some(random, 2, 3, 8) }, ({ x }) =>
      mergeHeads(tf.mul(splitHeads(x as tf.Tensor3D, 2), tf.range(1, 5)) as tf.Tensor4D),
    );
    const kept = tf.tensor2d([[0, 2], [1, 1]], [2, 2], 'int32'); // prettier-ignore
    checkGradients(random, { x: some(random, 2, 3, 4) }, ({ x }) => gatherTokens(x as tf.Tensor3D, kept));
  });

  test('a stack', () => {
    checkGradients(random, { x: some(random, 2, 3), y: some(random, 2, 3) }, ({ x, y }) =>
      tf.stack([x, y, x], 1),
    );
  });

  test('DyVTE’s gate', () => {
    const gate = { w1: { weight: some(random, 8, 4) }, w2: { weight: some(random, 4, 2) } } as Gate;
    checkGradients(random, { gate, x: some(random, 3, 8) }, ({ gate, x }) => runGate(gate, x as tf.Tensor2D));
  });

  test('VisToG’s tokens beside the tower’s, similarities and merging', () => {
    const tower = tinyVision(random);
    const D = tinyVisionConfig.hidden_size;
    const hidden = new Map([0, 1].map((l) => [l, some(random, 2, 5, D) as tf.Tensor3D]));
    checkGradients(random, { tokens: some(random, 3, D) }, ({ tokens }) =>
      runBeside(tower, hidden, tokens as tf.Tensor2D, 2),
    );
    const configs = {
      vision: tinyVisionConfig,
      projector: tinyLlava(random).config.projector,
      text: tinyLlamaConfig,
    };
    const { grouping } = randomWeights(random, { grouping: vistog.table(configs).grouping });
    const inputs = {
      grouping,
      g: some(random, 2, 3, D) as tf.Tensor3D,
      F: some(random, 2, 4, D) as tf.Tensor3D,
    };
    checkGradients(random, inputs, ({ grouping, g, F }) => {
      const W = tf.softmax(compareGroups(grouping, g, F)); // [B, U, P], rows that sum to 1
      return mergeGroups(grouping, g, F, W);
    });
  });

  test('the straight-through choice hands the derivative of its softmax on, over the size of the group', () => {
    const z = some(random, 2, 3, 5) as tf.Tensor3D;
    const r = some(random, 2, 3, 5);
    const counts = tf.tile(
      tf.maximum(tf.sum(tf.cast(tf.greater(assignStraight(z), 0), 'float32'), 2, true), 1),
      [1, 1, 5],
    );
    const soft = (x: tf.Tensor3D) => tf.transpose(tf.softmax(tf.transpose(x, [0, 2, 1])), [0, 2, 1]);
    const [hard] = tf.grads((x) => tf.sum(tf.mul(assignStraight(x as tf.Tensor3D), r)))([z]);
    const [expected] = tf.grads((x) => tf.sum(tf.mul(soft(x as tf.Tensor3D), tf.div(r, counts))))([z]);
    expect(relativeError(hard, expected)).toBeLessThan(1e-5);
  });

  test('SeTok’s merger, clusters apart', () => {
    const configs = {
      vision: tinyVisionConfig,
      projector: tinyLlava(random).config.projector,
      text: tinyLlamaConfig,
    };
    const { merger } = randomWeights(random, { merger: setok.table(configs).merger });
    const W = tf.tensor3d([[[0.5, 0, 0.5, 0], [0, 1, 0, 0], [0, 0, 0, 1]]]); // prettier-ignore
    const x = some(random, 1, 4, tinyVisionConfig.hidden_size) as tf.Tensor3D;
    checkGradients(random, { merger, x }, ({ merger, x }) => mergeClusters(merger, x, W));
  });

  test('RoPE and embedding', () => {
    const rope = ropeAt(createRope(tinyLlamaConfig, 9), tf.tensor2d([[0, 3, 8]], [1, 3], 'int32'));
    checkGradients(random, { x: some(random, 2, 2, 3, 4) }, ({ x }) => applyRope(x as tf.Tensor4D, rope));
    const ids = tf.tensor2d([[3, 0, 3], [1, 2, 0]], [2, 3], 'int32'); // prettier-ignore
    checkGradients(random, { table: some(random, 4, 5) }, ({ table }) => embed(table as tf.Tensor2D, ids));
  });

  test('a block of CLIP, with and without a mask', () => {
    const [weights] = tinyVision(random).weights.layers;
    const hidden = some(random, 2, 5, tinyVisionConfig.hidden_size) as tf.Tensor3D;
    for (const mask of [undefined, causalMask(5, 5)]) {
      checkGradients(
        random,
        { weights, hidden },
        (inputs) => clipBlock(inputs.weights, inputs.hidden, tinyVisionConfig, { mask }).hidden,
      );
    }
  });

  test('the image embedding', () => {
    const { weights, config } = tinyVision(random);
    const pixels = some(random, 2, config.image_size, config.image_size, 3) as tf.Tensor4D;
    const used = { ...weights, layers: [] };
    checkGradients(random, used, (current) => embedImage(current, pixels, config));
  });

  test('a block of LLaMA, and the logits', () => {
    const { weights, config } = tinyLlama(random);
    const hidden = some(random, 2, 4, config.hidden_size) as tf.Tensor3D;
    const rope = ropeAt(createRope(config, 4), tf.tensor2d([[0, 1, 2, 3]], [1, 4], 'int32'));
    checkGradients(random, { layer: weights.layers[0], hidden }, (inputs) => {
      return llamaBlock(inputs.layer, inputs.hidden, config, { rope, mask: causalMask(4, 4) }).hidden;
    });
    const head = { norm: weights.norm, lm_head: weights.lm_head };
    checkGradients(random, { head, hidden }, (inputs) =>
      readLogits({ config, weights: { ...weights, ...inputs.head } }, inputs.hidden),
    );
  });

  test('the projector and the splice', () => {
    const projector = tinyProjector(random, {
      kind: 'mlp2x',
      inner: 5,
      out: 8,
      hidden_act: 'gelu',
      bias: true,
    });
    const features = some(random, 2, 3, 5) as tf.Tensor3D;
    checkGradients(random, { weights: projector.weights, features }, (inputs) =>
      project({ ...projector, weights: inputs.weights }, inputs.features),
    );
    const llama = tinyLlama(random);
    const prompts = [{ before: [1, 5], after: [7, 2, 9] }, { before: [1, 6], after: [5, 5, 0] }]; // prettier-ignore
    const inputs = { table: llama.weights.embed_tokens, visual: some(random, 2, 3, 8) as tf.Tensor3D };
    checkGradients(random, inputs, ({ table, visual }) => {
      const weights = { ...llama.weights, embed_tokens: table };
      return spliceImage({ ...llama, weights }, prompts, visual).hidden;
    });
  });

  test('CLIP whole: both towers, the projections and the scale', () => {
    const clip = tinyClip(random);
    const side = tinyVisionConfig.image_size;
    const pixels = some(random, 3, side, side, 3) as tf.Tensor4D;
    const ids = [[10, 3, 4, 11], [10, 5, 11], [10, 2, 2, 2, 11]]; // prettier-ignore
    const weights = { vision: clip.vision.weights, text: clip.text.weights, shared: clip.weights };
    checkGradients(random, weights, ({ vision, text, shared }) => {
      const current: Clip = {
        vision: { ...clip.vision, weights: vision },
        text: { ...clip.text, weights: text },
        weights: shared,
      };
      return contrast(current, embedPictures(current, pixels), embedTexts(current, ids));
    });
  });

  test('the losses', () => {
    checkGradients(random, { x: some(random, 4, 5) }, ({ x }) =>
      crossEntropy(x as tf.Tensor2D, [0, 4, 4, 2]),
    );
    checkGradients(random, { x: some(random, 4, 4) }, ({ x }) => infoNce(x as tf.Tensor2D));
    const targets = tf.tensor2d([[0, 1, 1], [1, 0, 0]]); // prettier-ignore
    checkGradients(random, { x: some(random, 2, 3) }, ({ x }) =>
      binaryCrossEntropy(x as tf.Tensor2D, targets),
    );
  });
});

/** Both towers of the tiny sizes. */
function tinyClip(random: Random): Clip {
  const config = {
    ...tinyVisionConfig,
    num_hidden_layers: 2,
    vocab_size: 12,
    max_position_embeddings: 5,
    bos_token_id: 10,
    eos_token_id: 11,
  };
  const D = config.hidden_size;
  return {
    vision: tinyVision(random, config),
    text: { config, weights: randomWeights(random, clipTextTable(config, '')) },
    weights: randomWeights(random, clipContrastTable(D, D, 4)),
  };
}
