/**
 * npm run bench                        what fits in three minutes
 * npm run bench -- --full              every shape at full depth
 * npm run bench -- --gpu               the shapes that fill a GPU, at full depth
 * npm run bench -- --only vision       cases whose group or name holds the text
 * npm run bench -- --only methods      every compression method, which is too long for the first of these
 * npm run bench -- --only llava-7b     that model at its true size (llava-13b, tinyllava), in large/; --layers 2 of it
 * npm run bench -- --only large         one layer of each large model, kept in 16 bits and in float32
 * npm run bench -- --backend wasm      these backends only, separated by commas
 * npm run bench -- --no-peers          without PyTorch and ONNX Runtime
 * npm run bench -- --rounds 9 --name my-laptop
 */
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, loadavg, tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { messageOf, UserError } from '../src/errors.ts';
import { writeText } from '../src/node/files.ts';
import { backendNames, startBackend, type BackendChoice } from '../src/backend/start.ts';
import type { Context } from './cases/context.ts';
import { decoderCases } from './cases/decoder.ts';
import { machineCases, opsCases } from './cases/ops.ts';
import { layerCases } from './cases/layer.ts';
import { loadCases } from './cases/load.ts';
import { keepings } from '../src/checkpoint/keeping.ts';
import { runLarge } from './large/main.ts';
import { isLargeName } from './large/shapes.ts';
import { methodCases, pipelineCases } from './cases/pipeline.ts';
import { scoringCases, visionCases } from './cases/vision.ts';
import { measureGroup, type BenchCase, type Measurement, type Skip } from './harness.ts';
import { busySeconds, describeMachine, floorCases, machineRates, ownSeconds } from './machine.ts';
import { peerKinds, startPeer, type Peer } from './peers/peer.ts';
import { plot } from './plot.ts';
import { llamaLayers } from './shapes.ts';
import { markdown, type Results } from './report.ts';
import { checkTargets } from './targets.ts';
import { writePool } from './weights.ts';

const resultsFolder = path.join(import.meta.dirname, 'results');

process.env['VTC_CLS_THREADS'] ??= String(Math.min(2, availableParallelism())); // an idle machine is what threads are for

async function main(): Promise<void> {
  const { values: options } = parseArgs({
    options: {
      'full': { type: 'boolean', default: false },
      'gpu': { type: 'boolean', default: false },
      'only': { type: 'string' },
      'backend': { type: 'string' },
      'peers': { type: 'boolean', default: true },
      'rounds': { type: 'string' },
      'name': { type: 'string' },
      'layers': { type: 'string' },
      'weights-as': { type: 'string' },
    },
    allowNegative: true,
  });
  const partial = options.only ?? options.backend ?? !options.peers;
  const size = options.gpu ? 'gpu' : options.full ? 'full' : 'default';
  const name = options.name ?? (partial ? 'partial' : size);
  const rounds = Number(options.rounds ?? (size === 'full' ? 5 : 3));
  if (!Number.isInteger(rounds) || rounds < 1)
    throw new UserError(`--rounds ${options.rounds}: give 1 or more`);

  if (isLargeName(options.only)) {
    const weightsAs = keepings.find((known) => known === options['weights-as']);
    const layers = options.layers === undefined ? undefined : Number(options.layers);
    if (layers !== undefined && !(Number.isInteger(layers) && layers > 0))
      throw new UserError(`--layers ${options.layers}: give 1 or more`);
    const large = { layers, rounds, weightsAs, peers: options.peers, folder: resultsFolder };
    return runLarge(options.only, { ...large, name: options.name ?? 'partial' });
  }
  const scratch = await mkdtemp(path.join(tmpdir(), 'vtc-bench-'));
  const skipped: Skip[] = [];
  let peers: Peer[] = [];
  try {
    const backends = await startBackends(options.backend, skipped);
    if (options.peers) peers = await startPeers(path.join(scratch, 'pool.f32'), skipped);
    const context: Context = {
      backends: backends.map(({ name }) => name),
      peers,
      full: options.full || options.gpu,
      methods: (options.full && !options.gpu) || options.only === 'methods',
      layers: options.full || options.gpu || options.only?.startsWith('large') === true,
      gpu: options.gpu,
    };
    const machine = describeMachine(backends, peers);

    const [started, busy, own] = [performance.now(), busySeconds(), ownSeconds(peers)];

    const measurements: Measurement[] = [];
    const only = options.only?.toLowerCase();
    const chosen = allCases(context)
      .filter(({ group }) => !options.gpu || fillsGpu(group))
      .filter(
        (item) =>
          !only ||
          item.group.startsWith('machine') ||
          `${item.group} ${item.name}`.toLowerCase().includes(only),
      );
    if (only && chosen.every(({ group }) => group.startsWith('machine'))) {
      throw new UserError(`--only ${options.only}: no case of that name`);
    }
    for (const group of new Set(chosen.map((item) => item.group))) {
      if (!process.stderr.isTTY) console.error(`${seconds().padStart(4)} s  ${group}`);
      const cases = chosen.filter((item) => item.group === group);
      const isMachine = group.startsWith('machine');
      const floors = isMachine ? [] : floorCases(group, cases, machineCases(context), measurements);
      const result = await measureGroup([...floors, ...cases], { rounds, log: progress });
      measurements.push(...result.measurements);
      skipped.push(...result.skipped);
    }
    progress('');

    const capacity = (machine.cores * (performance.now() - started)) / 1000;
    machine.others = Math.max(0, (busySeconds() - busy - (ownSeconds(peers) - own)) / capacity);
    machine.loadAfter = loadavg()[0];
    const rates = machineRates(measurements);
    const targets = checkTargets(measurements);
    const results: Results = { machine, rates, rounds, measurements, skipped, targets };
    const text = markdown(results);
    console.log(text);
    await mkdir(resultsFolder, { recursive: true });
    await write(`${name}.json`, JSON.stringify(results, null, 2) + '\n');
    await write(`${name}.md`, text);
    await write(`${name}.svg`, await plot(results));
    console.log(
      `Written to ${path.relative(process.cwd(), resultsFolder)}/${name}.{json,md,svg} after ${seconds()} s`,
    );
  } finally {
    for (const peer of peers) peer.close();
    await rm(scratch, { recursive: true, force: true });
  }
}

function allCases(context: Context): BenchCase[] {
  return [
    ...machineCases(context),
    ...opsCases(context),
    ...visionCases(context),
    ...scoringCases(context),
    ...decoderCases(context),
    ...pipelineCases(context),
    ...methodCases(context),
    ...layerCases(context),
    ...loadCases(context),
  ];
}

/** The largest tower, the decoder at all of its layers and what they are made of. */
const fillsGpu = (group: string): boolean =>
  /^(machine|ops|large|vision: (ViT-L|scoring)|pipeline)/.test(group) ||
  group.includes(`${llamaLayers} of ${llamaLayers} layers`);

/** The backends asked for, or all that run; plain JavaScript only where asked for by name. */
async function startBackends(list: string | undefined, skipped: Skip[]): Promise<BackendChoice[]> {
  const started: BackendChoice[] = [];
  for (const name of list?.split(',') ?? backendNames.filter((known) => known !== 'cpu')) {
    try {
      started.push(await startBackend(name));
    } catch (error) {
      if (list || !(error instanceof UserError)) throw error;
      skipped.push({ name: 'everything', runner: name, reason: messageOf(error) });
    }
  }
  return started;
}

/** The peers that are installed. */
async function startPeers(pool: string, skipped: Skip[]): Promise<Peer[]> {
  await writePool(pool);
  const started: Peer[] = [];
  for (const kind of peerKinds) {
    try {
      started.push(await startPeer(kind, pool));
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      skipped.push({ name: 'everything', runner: kind.name, reason: messageOf(error) });
    }
  }
  return started;
}

const write = (file: string, text: string): Promise<void> => writeText(path.join(resultsFolder, file), text);

const seconds = (): string => (performance.now() / 1000).toFixed(0);

/** One line that overwrites itself; a log gets only the groups. */
function progress(line: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${line}`);
}

try {
  await main();
  process.exit(0); // a backend's threads may outlive its work
} catch (error) {
  if (!(error instanceof UserError)) throw error;
  console.error(`bench: ${error.message}`);
  process.exit(1);
}
