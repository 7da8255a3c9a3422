/** What was aimed for, beside what was measured. */
import { pairedRatio, median, type Measurement } from './harness.ts';
import { shareOfMachine, workOf } from './machine.ts';
import { exposures, scoring } from './cases/vision.ts';
import { prefillName } from './cases/decoder.ts';
import { layerGroup, storedRunner } from './cases/layer.ts';

export interface Target {
  what: string;
  target: string;
  /** Absent where this run did not measure it. */
  measured?: string;
  met?: boolean;
}

export function checkTargets(all: readonly Measurement[]): Target[] {
  // Of a model measured at two depths the deeper one comes last.
  const find = (name: string | RegExp, runner: string) =>
    all.findLast(
      (m) => (typeof name === 'string' ? m.name === name : name.test(m.name)) && m.runner === runner,
    );
  const large = 'ViT-L/14-336 encode';
  const ours = 'tensorflow';

  const large7b = (name: RegExp, runner: string) =>
    all.find((m) => m.group === layerGroup('llava-7b') && name.test(m.name) && m.runner === runner);
  const layerStep = large7b(/^decode /, storedRunner);

  const ratio = (of?: Measurement, to?: Measurement) =>
    of && to && pairedRatio(of.milliseconds, to.milliseconds);
  const speed = (name: string | RegExp) => ratio(find(name, 'torch eager'), find(name, ours));
  const compare =
    (sign: '≥' | '≤') =>
    (what: string, bound: number, value: number | undefined, format: (x: number) => string): Target => ({
      what,
      target: `${sign} ${format(bound)}`,
      ...(value !== undefined && {
        measured: format(value),
        met: sign === '≥' ? value >= bound : value <= bound,
      }),
    });
  const [atLeast, atMost] = [compare('≥'), compare('≤')];

  const [long, short] = [find(prefillName(576), ours), find(prefillName(64), ours)];
  const speedUp = ratio(long, short);
  const exposed = ratio(find(large + exposures.cls, ours), find(large, ours));
  const [steps, tower] = [find(scoring.name, ours), find(large, ours)];
  const share = steps && tower ? median(steps.milliseconds) / median(tower.milliseconds) : undefined;
  const wasm = find('ViT-B/16 encode', 'wasm');
  const load = find(/^load /, ours);
  return [
    atLeast('ViT-L/14-336 encode, speed over Hugging Face eager', 1, speed(large), times),
    atLeast('prefill of 640 tokens, speed over Hugging Face eager', 1, speed(prefillName(576)), times),
    atLeast('decode, speed over Hugging Face eager', 0.8, speed(/^decode /), times),
    atLeast(
      'prefill speed-up 576 → 64 visual tokens over the FLOPs ratio',
      0.9,
      speedUp && speedUp / (workOf(long!) / workOf(short!)),
      times,
    ),
    atLeast(
      'a layer of LLaVA-1.5-7B in 16 bits, prefill of 640 tokens, speed over Hugging Face float32',
      1.2,
      ratio(large7b(/^prefill 576/, 'torch float32'), large7b(/^prefill 576/, storedRunner)),
      times,
    ),
    atLeast(
      'the same, a token at a time, share of the machine’s bandwidth',
      0.7,
      layerStep && shareOfMachine(layerStep, all),
      percent,
    ),
    atMost('exposing the [CLS] rows, share of the encode', 0.03, exposed && exposed - 1, percent),
    atMost('scoring, ensemble, top-k and gather, share of the encode', 0.01, share, percent),
    atLeast(
      'wasm, ViT-B/16 encode, share of the machine’s matmul rate',
      0.25,
      wasm && shareOfMachine(wasm, all),
      percent,
    ),
    atLeast(
      'BF16 load, of file',
      1,
      load && workOf(load) / (median(load.milliseconds) / 1000) / 1e9,
      (x) => `${x.toFixed(2)} GB/s`,
    ),
  ];
}

const times = (x: number) => `${x.toFixed(2)}×`;
const percent = (x: number) => `${(100 * x).toFixed(1)} %`;
