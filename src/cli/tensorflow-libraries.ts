import { createHash } from 'node:crypto';
import { createReadStream, existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { UserError } from '../errors.ts';
import type { NativeDevice } from '../tensor/native.ts';
import { runProgram } from './programs.ts';

/** TensorFlow's C API, as its Python package of any platform carries it. */
const libraries = ['libtensorflow_cc.so.2', 'libtensorflow_framework.so.2'];
/** What the binding includes, and what that includes. */
const headers = ['tensorflow/c', 'tensorflow/core/platform', 'tsl/platform', 'xla/tsl/c'];

/** The wheel that is taken, whatever the Python that fetches it: only its libraries and headers are wanted. */
interface Wheel {
  name: string;
  version: string;
  platform: string;
  megabytes: number;
  /** Absent where it could not be learnt: then pip's own check against its index is all there is, and it is said. */
  sha256?: string;
}
const version = '2.21.0';
const wheels: Record<string, Wheel> = {
  'cpu x64': {
    name: 'tensorflow-cpu',
    version,
    platform: 'manylinux_2_27_x86_64',
    megabytes: 270,
    sha256: '2b847d217b02ee7731ed91431daf3250daa0196c3c94614d23be27232e6e5b6c',
  },
  'cpu arm64': { name: 'tensorflow', version, platform: 'manylinux_2_27_aarch64', megabytes: 270 },
  'cuda x64': { name: 'tensorflow', version, platform: 'manylinux_2_27_x86_64', megabytes: 600 }, // CUDA's, and the plain one
};

export interface LibraryRequest {
  device: NativeDevice;
  arch: string;
  env: NodeJS.ProcessEnv;
  /** Where downloads lie until they are unpacked. */
  downloads: string;
  /** One line of progress. */
  say: (line: string) => void;
}

/**
 * Fills `deps` with `lib/` and `include/`: from the folder that `$VTC_TENSORFLOW` names, else from the TensorFlow that
 * Python can import (both linked, not copied), else from pip's wheel, unpacked as far as it is needed.
 * The folder appears whole or not at all.
 * @throws UserError where none of the three can supply it
 */
export async function fetchLibraries(deps: string, request: LibraryRequest): Promise<void> {
  const partial = `${deps}.partial`;
  await rm(partial, { recursive: true, force: true });
  await mkdir(path.join(partial, 'lib'), { recursive: true });

  const existing = findNamed(request.env) ?? (await findInPython(request));
  const source = existing ? await linkFrom(existing, partial) : await unpackWheel(partial, request);
  await writeFile(path.join(partial, 'source.txt'), source);
  await rm(deps, { recursive: true, force: true });
  await rename(partial, deps);
}

/** Whether `deps` is whole; what it links to may have been removed since. */
export const haveLibraries = (deps: string): boolean =>
  ['source.txt', 'include/tensorflow/c/c_api.h', ...libraries.map((file) => `lib/${file}`)].every((file) =>
    existsSync(path.join(deps, file)),
  );

export const readSource = (deps: string): Promise<string> => readFile(path.join(deps, 'source.txt'), 'utf8');

function findNamed({ VTC_TENSORFLOW: named }: NodeJS.ProcessEnv): string | undefined {
  if (!named) return undefined;
  const missing = [...libraries, 'include/tensorflow/c/c_api.h'].find(
    (file) => !existsSync(path.join(named, file)),
  );
  if (missing === undefined) return path.resolve(named);
  throw new UserError(
    `VTC_TENSORFLOW names ${named}, which holds no ${missing}: ` +
      'name the folder "tensorflow" of a Python installation, or unset it (unset VTC_TENSORFLOW)',
  );
}

async function findInPython({ device, env, say }: LibraryRequest): Promise<string | undefined> {
  // Found, not imported: that would take seconds.
  const find =
    "import importlib.util as u; s = u.find_spec('tensorflow'); print(*(s.submodule_search_locations if s else []))";
  const python = await runProgram('python3', ['-c', find], { env });
  const folder = python?.code === 0 ? python.stdout.trim() : '';
  if (!folder || !libraries.every((file) => existsSync(path.join(folder, file)))) return undefined;
  if (device === 'cuda') {
    const info = await readFile(path.join(folder, 'python/platform/build_info.py'), 'utf8').catch(() => '');
    if (!/is_cuda_build\W+True/.test(info)) {
      say(`${folder} was built without CUDA: left aside`);
      return undefined;
    }
  }
  return folder;
}

async function linkFrom(folder: string, deps: string): Promise<string> {
  for (const file of libraries) await symlink(path.join(folder, file), path.join(deps, 'lib', file));
  await symlink(path.join(folder, 'include'), path.join(deps, 'include'));
  // CUDA's own libraries, which pip puts beside TensorFlow and TensorFlow looks for beside its own.
  const nvidia = path.join(folder, '..', 'nvidia');
  if (existsSync(nvidia)) await symlink(nvidia, path.join(deps, 'nvidia'));
  return folder;
}

async function unpackWheel(deps: string, request: LibraryRequest): Promise<string> {
  const { device, arch, env, downloads, say } = request;
  const otherwise = 'or name the folder of an existing TensorFlow in VTC_TENSORFLOW';
  const pip = await runProgram('python3', ['-m', 'pip', '--version'], { env });
  if (!pip) {
    throw new UserError(`python3 is not in PATH: sudo apt-get install python3 python3-pip, ${otherwise}`);
  }
  if (pip.code !== 0)
    throw new UserError(`python3 has no pip: sudo apt-get install python3-pip, ${otherwise}`);

  const pinned = wheels[`${device} ${arch}`];
  const what = `${pinned.name}==${pinned.version}`;
  const findWheel = async () =>
    (await readdir(downloads).catch(() => [])).find((file) => file.endsWith('.whl'));
  if (!(await findWheel())) {
    say(`downloading ${what} with pip (${pinned.megabytes} MB)`);
    const partial = `${downloads}.partial`;
    const platform = ['--python-version', '3.11', '--abi', 'cp311', '--platform', pinned.platform];
    const args = ['-m', 'pip', 'download', '--no-deps', '--only-binary=:all:', ...platform];
    const download = await runProgram('python3', [...args, '--dest', partial, what], { env, show: true });
    if (download?.code !== 0) {
      throw new UserError(
        `pip cannot download ${what} (${download?.reason}): ` +
          `try python3 -m pip download --no-deps ${what}, ${otherwise}`,
      );
    }
    await rm(downloads, { recursive: true, force: true });
    await rename(partial, downloads);
  }
  const wheel = path.join(downloads, (await findWheel()) ?? '');
  await checkHash(wheel, pinned, downloads, say);

  say(`unpacking what is needed of ${path.basename(wheel)}`);
  const wanted = [
    ...libraries.map((file) => `tensorflow/${file}`),
    ...headers.map((folder) => `tensorflow/include/${folder}/`),
  ];
  const unpack = await runProgram('python3', ['-c', unpackScript, wheel, deps, ...wanted], { env });
  if (unpack?.code !== 0) {
    await rm(downloads, { recursive: true, force: true }); // it may be the wheel that is broken
    throw new UserError(`cannot unpack ${path.basename(wheel)} (${unpack?.reason}): run the command again`);
  }
  const unpacked = path.join(deps, 'tensorflow');
  for (const file of libraries) await rename(path.join(unpacked, file), path.join(deps, 'lib', file));
  await rename(path.join(unpacked, 'include'), path.join(deps, 'include'));
  await rm(unpacked, { recursive: true });
  if (device === 'cuda') await installCuda(deps, unpack.stdout.trim().split('\n').map(pinLowest), request);
  await rm(downloads, { recursive: true });
  return `pip's ${path.basename(wheel)}`;
}

/** @throws UserError for another file than the one that was tried out; it is removed */
async function checkHash(
  wheel: string,
  { sha256 }: Wheel,
  downloads: string,
  say: LibraryRequest['say'],
): Promise<void> {
  const file = path.basename(wheel);
  if (sha256 === undefined) return say(`${file} is pinned by its version, its SHA-256 is not known here`);
  const hash = createHash('sha256');
  for await (const piece of createReadStream(wheel)) hash.update(piece as Buffer);
  const found = hash.digest('hex');
  if (found === sha256) return;
  await rm(downloads, { recursive: true, force: true });
  throw new UserError(
    `${file} is not the file that this program was tried with: its SHA-256 is ${found}, should be ${sha256}`,
  );
}

/** argv: wheel, target, prefixes. Unpacks the entries with these prefixes; prints what the wheel needs for CUDA. */
const unpackScript = `
import sys, zipfile
wheel, target, *wanted = sys.argv[1:]
with zipfile.ZipFile(wheel) as z:
    for name in z.namelist():
        if name.startswith(tuple(wanted)): z.extract(name, target)
        if name.endswith('.dist-info/METADATA'):
            for line in z.read(name).decode().splitlines():
                if line.startswith('Requires-Dist: ') and 'and-cuda' in line: print(line[15:].split(';')[0].strip())
`;

/**
 * A requirement of the wheel's by one version, the lowest that it allows: the one that TensorFlow was built with.
 * `nvidia-cublas-cu12<13.0,>=12.5.3.2` → `nvidia-cublas-cu12==12.5.3.2`
 */
export function pinLowest(requirement: string): string {
  const [, name] = /^([\w.-]+)/.exec(requirement) ?? [];
  const [, lowest] = /[>=]=\s*([\d.]+(?:post\d+)?)/.exec(requirement) ?? [];
  if (!name || !lowest)
    throw new UserError(`TensorFlow's wheel needs "${requirement}", of no version: take another wheel`);
  return `${name}==${lowest}`;
}

/** CUDA's and cuDNN's libraries as pip packages, where TensorFlow's own search path finds them: `deps/nvidia`. */
async function installCuda(
  deps: string,
  requirements: string[],
  { env, say }: LibraryRequest,
): Promise<void> {
  say(`installing ${requirements.length} CUDA libraries with pip (3 GB)`);
  const args = ['-m', 'pip', 'install', '--no-deps', '--target', deps, ...requirements];
  const install = await runProgram('python3', args, { env, show: true });
  if (install?.code !== 0) {
    throw new UserError(
      `pip cannot install CUDA's libraries (${install?.reason}): try again, ` +
        'or python3 -m pip install "tensorflow[and-cuda]" and then this command',
    );
  }
}
