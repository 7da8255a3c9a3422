/** What was aimed for, beside what was measured. */
import { pairedRatio, median, type Measurement } from './harness.ts';
import { shareOfMachine, workOf } from './machine.ts';
import { exposures, scoring } from './cases/vision.ts';
import { prefillName } from './cases/decoder.ts';

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
