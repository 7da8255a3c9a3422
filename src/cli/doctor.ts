import type { Command } from 'commander';
import { availableParallelism, cpus, totalmem } from 'node:os';
import { messageOf } from '../errors.ts';
import { hostBytes } from '../backend/host-memory.ts';
import { productsInUse } from '../backend/native-half.ts';
import { backendNames, startBackend } from '../backend/start.ts';
import { hubCache } from '../node/hub-cache.ts';
import { limits } from '../tensor/wasm-heap.ts';
import { formatBytes, formatTable } from '../report/format.ts';
import { addBackend, type BackendOption } from './options.ts';

export function addDoctorCommand(program: Command): void {
  const command = program
    .command('doctor')
    .description('print which backends are there, which one is chosen and why');
  addBackend(command).action(doctor);
}

async function doctor({ backend }: BackendOption): Promise<void> {
  const rows = [];
  for (const name of backendNames) {
    try {
      const report = await startBackend(name);
      rows.push([name, 'runs', report.version, `${report.threads}`, report.device]);
    } catch (error) {
      rows.push([name, 'does not run', messageOf(error).replace(/^.*?does not run: \w+: /, ''), '', '']);
    }
  }
  console.log(`node ${process.version} on ${process.platform} ${process.arch}`);
  console.log(
    `${cpus()[0]?.model.trim() ?? 'unknown CPU'}, ${availableParallelism()} cores, ${formatBytes(totalmem())}\n`,
  );
  console.log(formatTable([['backend', 'state', 'version or reason', 'threads', 'device'], ...rows]));
  const chosen = await startBackend(backend); // last: one that does not run still gets its table
  console.log(`\nchosen: ${chosen.name}, ${chosen.why}`);
  console.log(
    `weights: this process can have ${formatBytes(hostBytes())}; 16-bit ones stay as stored where float32 would take more ` +
      `than half of it, --weights-as streamed reads a decoder's layers from disk in each pass`,
  );
  const { form } = productsInUse();
  console.log(
    `products with 16-bit weights on tensorflow: ${
      form
        ? `a kernel of our own (${form}) for a token at a time, VTC_CLS_KERNEL names another form; widened for more`
        : 'widened, exact, and a token takes thrice as long; npm run setup:tensorflow compiles a kernel'
    }`,
  );
  console.log(`wasm heap budget: ${formatBytes(limits.wasmHeapBytes)}`);
  console.log(
    `wasm threads: VTC_CLS_THREADS=<1..${limits.wasmThreads}> in the environment; for large models on an idle machine`,
  );
  console.log('webgpu: auto does not take it; VTC_CLS_WEBGPU=software lets it compute on the CPU, for tests');
  console.log(`models of Hugging Face: --model org/name looks in ${hubCache()}`);
}
