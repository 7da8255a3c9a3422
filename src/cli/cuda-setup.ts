/** What must be there before a CUDA build is worth making, and what keeps one that was made from seeing its GPU. */
import { UserError } from '../errors.ts';
import { runProgram } from './programs.ts';

/** TensorFlow 2.21 is built with CUDA 12.5, which drivers know from here on. */
const leastDriver = 525;
/**
 * Its machine code is for compute capability 6.0 to 8.9, and its PTX for 9.0, which drivers compile at the first start. On 10 and
 * above it fails or hangs (tensorflow issues 111958, 101746, 97387).
 */
const firstUnsupported = 10;

/** A GPU as nvidia-smi tells it. */
interface Gpu {
  name: string;
  capability: number;
  driver: string;
}

/**
 * @param force take a GPU that TensorFlow was not built for
 * @throws UserError where there is no driver, one that is too old, or no GPU that TensorFlow serves
 */
export async function requireGpu(env: NodeJS.ProcessEnv, force: boolean): Promise<void> {
  const query = ['--query-gpu=name,compute_cap,driver_version', '--format=csv,noheader'];
  const ran = await runProgram('nvidia-smi', query, { env });
  const without = '--without-gpu builds it for a machine that has one';
  if (!ran)
    throw new UserError(`nvidia-smi is not in PATH, so there is no NVIDIA driver: install it, or ${without}`);
  if (ran.code !== 0) throw new UserError(`nvidia-smi finds no GPU (${ran.reason}); ${without}`);
  const gpus = parseGpus(ran.stdout);
  if (gpus.length === 0) throw new UserError(`nvidia-smi names no GPU; ${without}`);
  const [{ driver }] = gpus;
  if (!(Number.parseInt(driver) >= leastDriver)) {
    throw new UserError(`the NVIDIA driver is ${driver}; CUDA 12 needs ${leastDriver} or later`);
  }
  if (force || gpus.some(({ capability }) => capability < firstUnsupported)) return;
  const [{ name, capability }] = gpus;
  throw new UserError(
    `${name} has compute capability ${capability.toFixed(1)}, and TensorFlow 2.21 is built for less than ${firstUnsupported}: it fails ` +
      'or hangs there; --force tries it all the same',
  );
}

/** Lines of `NAME, CAPABILITY, DRIVER`. */
export function parseGpus(text: string): Gpu[] {
  return text
    .trim()
    .split('\n')
    .map((line) => line.split(',').map((part) => part.trim()))
    .filter((parts) => parts.length === 3 && Number(parts[1]) > 0)
    .map(([name, capability, driver]) => ({ name, capability: Number(capability), driver }));
}

/**
 * Which of CUDA's libraries TensorFlow looked for and did not find: without one it computes on the CPU and says nothing, unless it
 * logs all that it does.
 * @param log what a start with `TF_CPP_MAX_VLOG_LEVEL=1` wrote
 */
export function missingLibraries(log: string): string[] {
  const lines = log
    .split('\n')
    .filter((line) => /could not load|cannot open shared object|dlopen/i.test(line));
  const names = lines.flatMap((line) => line.match(/lib[\w+-]+\.so(\.\d+)*/g) ?? []);
  return [...new Set(names)].sort();
}

/** In words, with the next step. */
export function describeMissing(libraries: readonly string[]): string {
  if (libraries.length === 0) return '';
  const other = libraries.some((name) => name.endsWith('.so.13'))
    ? " (PyTorch's wheels for CUDA 13 do not fit)"
    : '';
  return (
    `; it does not find ${libraries.join(', ')}${other}: python3 -m pip install "tensorflow[and-cuda]==2.21.0" brings CUDA 12's ` +
    'libraries beside TensorFlow'
  );
}
