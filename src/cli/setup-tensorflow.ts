/**
 * `vtc setup-tensorflow`: builds the N-API binding of tfjs-node-gpu, published against TensorFlow 2.9, against a
 * TensorFlow of today. Each step is skipped when its result is there, so the command may be run again at any time.
 */
import { existsSync, readFileSync } from 'node:fs';
import { copyFile, mkdir, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { Option, type Command } from 'commander';
import { messageOf, UserError } from '../errors.ts';
import { freeBytes, requireRoom } from '../node/disk.ts';
import { makeFolder, reasonOf, writeAtomically } from '../node/files.ts';
import {
  bindingOf,
  hasNative,
  nativeFolder,
  nativePackage,
  readNativeBuild,
  type NativeBuild,
  type NativeDevice,
} from '../backend/native.ts';
import { productSources, productsFile } from '../backend/native-half.ts';
import { compileProducts } from './compile-products.ts';
import { describeMissing, missingLibraries, requireGpu } from './cuda-setup.ts';
import { runProgram } from './programs.ts';
import { proveTensorflow } from './prove-tensorflow.ts';
import { fetchLibraries, haveLibraries, readSource } from './tensorflow-libraries.ts';

/** What a build takes at most, while it is made. */
const neededBytes = 2.5e9;
const moreRoom =
  'make room (npm cache clean --force, python3 -m pip cache purge) or name another folder in VTC_CLS_CACHE';

interface SetupFlags {
  cuda: boolean;
  withoutGpu: boolean;
  force: boolean;
  remove: boolean;
  prove?: string | true;
}

export function addSetupTensorflowCommand(program: Command): void {
  program
    .command('setup-tensorflow')
    .description('build the tensorflow backend on a TensorFlow of today, in a cache folder')
    .option('--cuda', 'the CUDA build, for NVIDIA GPUs', false)
    .option(
      '--without-gpu',
      'with --cuda: all but the proof, for an image that is built where no GPU is',
      false,
    )
    .option('--force', 'with --cuda: on a GPU that TensorFlow was not built for too', false)
    .option('--remove', 'remove what this command built', false)
    .addOption(new Option('--prove [folder]', 'compute known values with a build').hideHelp())
    .action(async ({ cuda, withoutGpu, force, remove, prove }: SetupFlags) => {
      const device = cuda ? 'cuda' : 'cpu';
      if (!cuda && (withoutGpu || force)) {
        throw new UserError(`--${force ? 'force' : 'without-gpu'} is for the CUDA build: add --cuda`);
      }
      if (prove) console.log(await proveTensorflow(prove === true ? undefined : prove, device));
      else if (remove) await removeTensorflow(device);
      else await setupTensorflow(device, thisMachine, { withoutGpu, force });
    });
}

/** The machine that is set up; a test describes another one. */
export interface Machine {
  platform: string;
  arch: string;
  env: NodeJS.ProcessEnv;
  /** Whether there is a native TensorFlow worth trying. */
  hasNative: (env: NodeJS.ProcessEnv) => boolean;
  /** Free bytes where this folder is. */
  freeBytes: (folder: string) => Promise<number>;
  say: (line: string) => void;
}

const thisMachine: Machine = {
  platform: process.platform,
  arch: process.arch,
  env: process.env,
  hasNative,
  freeBytes,
  say: (line) => console.log(line),
};

interface Step {
  name: string;
  done: () => boolean;
  run: () => Promise<void>;
}

/** @throws UserError naming what is missing and the command that mends it */
export async function setupTensorflow(
  device: NativeDevice,
  machine: Machine = thisMachine,
  { withoutGpu = false, force = false }: { withoutGpu?: boolean; force?: boolean } = {},
): Promise<void> {
  const { say, env } = machine;
  const root = nativeFolder(device, env);
  const ready = readNativeBuild(root) !== undefined;
  if (machine.hasNative(env)) {
    const { version, reason } = await prove(undefined, device, env);
    const whole = !ready || existsSync(productsFile(bindingOf(root)));
    if (version && whole) return say(`TensorFlow ${version} works already${ready ? `, in ${root}` : ''}`);
    if (ready && !version) say(`the build in ${root} no longer works (${reason}): mending it`);
  }

  requirePlatform(device, machine);
  if (device === 'cuda' && !withoutGpu) await requireGpu(env, force);
  await makeFolder(root).catch((error: unknown) => {
    throw new UserError(`${messageOf(error)}; VTC_CLS_CACHE names another one`);
  });
  await rm(path.join(root, 'ready.json'), { force: true });
  const steps = listSteps(root, device, machine);
  for (const step of withoutGpu ? steps.slice(0, -1) : steps) {
    if (step.done()) continue;
    say(`${step.name} …`);
    await step.run();
  }
  if (withoutGpu)
    return say(`all but the proof is in ${root}: the same command without --without-gpu makes it`);
  say(`the tensorflow backend is ready in ${root}; --remove removes it`);
}

/** In order; each needs those before it. */
function listSteps(root: string, device: NativeDevice, machine: Machine): Step[] {
  const { env, say } = machine;
  const at = (...parts: string[]) => path.join(root, 'node_modules', nativePackage.name, ...parts);
  const binding = bindingOf(root);
  const products = productsFile(binding);
  const headers = path.join(root, 'node_modules', 'node-api-headers', 'include');
  const haveNodeHeaders = (folder: string) => existsSync(path.join(folder, 'node_api.h'));
  return [
    {
      name: 'looking for compiler, npm and room on the disk',
      done: () => existsSync(binding) && existsSync(products) && haveLibraries(at('deps')),
      run: async () => {
        await findCompiler(env);
        if (!(await runProgram('npm', ['--version'], { env }))) {
          throw new UserError('npm is not in PATH: install Node with npm (sudo apt-get install npm)');
        }
        if (!haveLibraries(at('deps'))) await requireRoom(root, neededBytes, moreRoom, machine.freeBytes);
      },
    },
    {
      name: `installing ${nativePackage.name} ${nativePackage.version}`,
      done: () => isNpmInstalled(root, nativePackage.name, nativePackage.version) && haveNodeHeaders(headers),
      run: () => npmInstall(root, env),
    },
    {
      name: "fetching TensorFlow's libraries",
      done: () => haveLibraries(at('deps')),
      run: async () => {
        await rm(binding, { force: true }); // it was compiled for others
        const { arch } = machine;
        await fetchLibraries(at('deps'), { device, arch, env, say, downloads: path.join(root, 'wheel') });
      },
    },
    {
      name: 'compiling the binding',
      done: () => existsSync(binding),
      run: async () => {
        await compileBinding(at(), headers, binding, env);
      },
    },
    {
      name: 'compiling products with 16-bit weights',
      done: () => existsSync(products),
      run: async () => {
        const compiler = await findCompiler(env);
        const includes = [at('deps', 'include'), headers];
        const request = {
          compiler,
          sources: productSources,
          includes,
          libraries: at('deps', 'lib'),
          arch: machine.arch,
          env,
        };
        const reason = await compileProducts(products, request);
        if (reason)
          say(
            `${compiler} cannot (${reason}): such weights are widened instead, and a token takes thrice as long`,
          );
      },
    },
    {
      name: 'computing known values with it',
      done: () => readNativeBuild(root) !== undefined,
      run: async () => {
        const { version, reason } = await prove(root, device, env);
        if (!version) {
          const flags = device === 'cuda' ? '--cuda --remove' : '--remove';
          const missing = device === 'cuda' ? await findMissing(root, env) : '';
          throw new UserError(
            `the build in ${root} does not work (${reason}${missing}): npm run setup:tensorflow -- ${flags}, then once more`,
          );
        }
        const build: NativeBuild = { device, tensorflow: version, libraries: await readSource(at('deps')) };
        await writeAtomically(path.join(root, 'ready.json'), (file) =>
          file.writeFile(`${JSON.stringify(build, null, 2)}\n`),
        );
        say(`TensorFlow ${version} from ${build.libraries}`);
      },
    },
  ];
}

/** Removes a build and all that was downloaded for it. */
export async function removeTensorflow(
  device: NativeDevice,
  { env, say }: Pick<Machine, 'env' | 'say'> = thisMachine,
): Promise<void> {
  const root = nativeFolder(device, env);
  const was = existsSync(root);
  await rm(root, { recursive: true, force: true }).catch((error: unknown) => {
    throw new UserError(`cannot remove ${root}: ${reasonOf(error)}`);
  });
  say(was ? `removed ${root}` : `there is nothing to remove in ${root}`);
}

function requirePlatform(device: NativeDevice, { platform, arch }: Machine): void {
  const built = device === 'cuda' ? ['x64'] : ['x64', 'arm64'];
  if (platform === 'linux' && built.includes(arch)) return;
  throw new UserError(
    `${device === 'cuda' ? 'the CUDA build' : 'native TensorFlow'} is set up on linux ${built.join(' and ')} only, ` +
      `this is ${platform} ${arch}: use --backend wasm`,
  );
}

async function findCompiler(env: NodeJS.ProcessEnv): Promise<string> {
  const { CXX: named } = env;
  for (const compiler of named ? [named] : ['g++', 'clang++']) {
    const ran = await runProgram(compiler, ['--version'], { env });
    if (ran?.code === 0) return compiler;
  }
  throw new UserError(
    named
      ? `CXX names ${named}, which does not run: unset CXX, or name a C++ compiler`
      : 'neither g++ nor clang++ is in PATH: sudo apt-get install g++, or name a C++ compiler in CXX',
  );
}

/** npm writes its hidden lockfile last: what it names is there. */
function isNpmInstalled(root: string, name: string, version: string): boolean {
  try {
    const lock = JSON.parse(readFileSync(path.join(root, 'node_modules', '.package-lock.json'), 'utf8')) as {
      packages: Record<string, { version?: string }>;
    };
    return lock.packages[`node_modules/${name}`]?.version === version;
  } catch {
    return false;
  }
}

/** The package and Node's headers, with all that they need, by the versions and hashes of a lock file of ours. */
async function npmInstall(root: string, env: NodeJS.ProcessEnv): Promise<void> {
  const { name, version } = nativePackage;
  for (const file of ['package.json', 'package-lock.json']) {
    await copyFile(path.join(lockFolder, file), path.join(root, file));
  }
  const args = ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error', '--prefix', root];
  const npm = await runProgram('npm', args, { env });
  if (npm?.code !== 0) {
    throw new UserError(
      `npm cannot install ${name}@${version} (${npm?.reason}): try npm view ${name}@${version} version`,
    );
  }
}

/** Seen from src/cli and from dist/cli. */
const lockFolder = path.join(import.meta.dirname, '..', '..', 'src', 'cli', 'native-package');

async function compileBinding(
  folder: string,
  nodeHeaders: string,
  binding: string,
  env: NodeJS.ProcessEnv,
): Promise<void> {
  const compiler = await findCompiler(env);
  await mkdir(path.dirname(binding), { recursive: true });
  const at = (name: string) => path.join(folder, name);
  const args = [
    ...['-O2', '-fPIC', '-shared', '-std=c++17', '-DNAPI_VERSION=8'],
    ...[`-I${at('deps/include')}`, `-I${nodeHeaders}`],
    ...[at('binding/tfjs_backend.cc'), at('binding/tfjs_binding.cc')],
    ...['-o', `${binding}.partial`],
    ...[`-L${at('deps/lib')}`, '-l:libtensorflow_cc.so.2', '-l:libtensorflow_framework.so.2'],
    '-Wl,-rpath,$ORIGIN/../../deps/lib', // found from the binding's own place
  ];
  const ran = await runProgram(compiler, args, { env });
  if (ran?.code !== 0) {
    throw new UserError(
      `${compiler} cannot compile the binding (${ran?.reason}): name another C++ compiler in CXX, ` +
        'or another TensorFlow in VTC_TENSORFLOW',
    );
  }
  await rename(`${binding}.partial`, binding);
}

/**
 * In a process of its own: a library that is broken can end it.
 * @param folder a build; undefined for the one that `--backend tensorflow` would take
 */
async function prove(
  folder: string | undefined,
  device: NativeDevice,
  env: NodeJS.ProcessEnv,
): Promise<{ version?: string; reason?: string }> {
  const ran = await startProof(folder, device, env);
  return ran?.code === 0
    ? { version: ran.stdout.trim() }
    : { reason: ran?.reason.replace(/^error: /, '') ?? 'Node cannot be started' };
}

function startProof(folder: string | undefined, device: NativeDevice, env: NodeJS.ProcessEnv) {
  const main = path.join(import.meta.dirname, `main${path.extname(import.meta.filename)}`);
  const flags = device === 'cuda' ? ['--cuda'] : [];
  const args = [...typescript(), main, 'setup-tensorflow', ...flags, '--prove', ...(folder ? [folder] : [])];
  return runProgram(process.execPath, args, { env });
}

/** Why a CUDA build sees no GPU, in words: it is started once more, and tells all that it does. */
async function findMissing(folder: string, env: NodeJS.ProcessEnv): Promise<string> {
  const ran = await startProof(folder, 'cuda', {
    ...env,
    TF_CPP_MIN_LOG_LEVEL: '0',
    TF_CPP_MAX_VLOG_LEVEL: '1',
  });
  return describeMissing(missingLibraries(ran?.stderr ?? ''));
}

/** A checkout runs from TypeScript. */
const typescript = (): string[] =>
  import.meta.filename.endsWith('.ts') ? ['--import', import.meta.resolve('tsx')] : [];
