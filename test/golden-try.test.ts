import * as tf from '@tensorflow/tfjs-core';
import { test, expect } from 'vitest';
import { startBackend } from '../src/tensor/backend.ts';
import { loadModel } from '../src/checkpoint/load.ts';
import { createTrace } from '../src/tensor/trace.ts';
import { runVlm, visualTokenCount } from '../src/vlm.ts';
import { findMethod } from '../src/compress/registry.ts';
import { cutAtImage } from '../src/text/prompt.ts';
import { fixture, golden, readExpected, relativeError } from './support/golden.ts';
test.each([fixture('llava-basic'), fixture('llava-sharded-bf16'), golden('llava-v5keys'), golden('llava-full-llama3'), golden('llava-layers')])('%s', async (dir) => {
  await startBackend('wasm');
  const before = tf.memory().numTensors;
  const model = await loadModel(dir);
  const x = await readExpected(dir + '/expected.safetensors');
  const ids = await x.ints('input_ids');
  const nchw = await x.float('pixel_values');
  const pixels = tf.transpose(nchw, [0,2,3,1]) as tf.Tensor4D;
  const llava = model.llava!;
  const prompts = ids.map(r => cutAtImage(r, llava.config.image_token_index, visualTokenCount(llava)));
  const compare = async (name: string, t: tf.Tensor) => { const e = await x.float(name); const r = relativeError(t, e); if (!(r < 1e-4)) console.log('BAD', name, t.shape, e.shape, r); e.dispose(); return r; };
  {
    const trace = createTrace();
    const a = await runVlm(llava, { pixels, prompts }, { method: findMethod('none'), methodOptions: {}, budget: 1, positions: 'contiguous', maxNewTokens: 12, trace });
    let worst = 0;
    for (const [k, t] of trace.tensors) if (x.has(k)) worst = Math.max(worst, await compare(k, t));
    console.log(dir, 'worst', worst, JSON.stringify(a.tokens) === JSON.stringify(await x.ints('full.tokens')));
    trace.dispose();
  }
  for (const key of x.names.filter(n => n.endsWith('.kept'))) {
    const [, K, U] = /vtc-cls\.k(\d)\.u(\d+)\.kept/.exec(key)!;
    for (const positions of ['contiguous', 'original'] as const) {
      const base = `vtc-cls.k${K}.u${U}`;
      const mid = x.has(`${base}.logits`) ? '' : `${positions}.`;
      if (!x.has(`${base}.${mid}logits`) || (mid === '' && positions === 'original')) continue;
      const trace = createTrace((n) => !n.includes('LL'));
      const a = await runVlm(llava, { pixels, prompts }, { method: findMethod('vtc-cls'), methodOptions: {layers: +K, ensemble: 'sum'}, budget: +U, positions, maxNewTokens: 12, trace });
      await compare(`${base}.scores`, trace.tensors.get('compress.scores')!);
      await compare(`${base}.${mid}logits`, trace.tensors.get('decoder.logits')!);
      console.log(base, mid, JSON.stringify(a.kept) === JSON.stringify(await x.ints(key)), JSON.stringify(a.tokens) === JSON.stringify(await x.ints(`${base}.${mid}tokens`)));
      trace.dispose();
    }
  }
  model.dispose(); tf.dispose([nchw, pixels]);
  expect(tf.memory().numTensors).toBe(before);
});
