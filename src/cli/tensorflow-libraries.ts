import { createHash } from 'node:crypto';
import { createReadStream, existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { UserError } from '../errors.ts';
import type { NativeDevice } from '../backend/native.ts';
import { runProgram } from './programs.ts';

/** TensorFlow's C API, as its Python package of any platform carries it. */
const libraries = ['libtensorflow_cc.so.2', 'libtensorflow_framework.so.2'];
/** What the binding includes, and what that includes. */
const headers = ['tensorflow/c', 'tensorflow/core/platform', 'tsl/platform', 'xla/tsl/c'];

/**
 * The one download: a wheel of which only libraries and headers are wanted, so it fits whatever Python fetches it. Of those for
 * arm64 and CUDA no SHA-256 is known here: an installed one is linked instead.
 */
const wheel = {
  name: 'tensorflow-cpu',
  version: '2.21.0',
  target: ['--python-version', '3.11', '--abi', 'cp311', '--platform', 'manylinux_2_27_x86_64'],
  megabytes: 270,
  sha256: '2b847d217b02ee7731ed91431daf3250daa0196c3c94614d23be27232e6e5b6c',
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
 * Python can import (both linked, not copied), else, for x64 without CUDA, from pip's wheel, unpacked as far as it is needed.
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
  if (device === 'cuda' || arch !== 'x64') {
    const extra = device === 'cuda' ? '[and-cuda]' : '';
    throw new UserError(
      `for ${device === 'cuda' ? 'CUDA' : arch} an installed TensorFlow is linked: ` +
        `python3 -m pip install "tensorflow${extra}==${wheel.version}" and this command again, ${otherwise}`,
    );
  }
  const pip = await runProgram('python3', ['-m', 'pip', '--version'], { env });
  if (!pip) {
    throw new UserError(`python3 is not in PATH: sudo apt-get install python3 python3-pip, ${otherwise}`);
  }
  if (pip.code !== 0)
    throw new UserError(`python3 has no pip: sudo apt-get install python3-pip, ${otherwise}`);

  const what = `${wheel.name}==${wheel.version}`;
  const findWheel = async () =>
    (await readdir(downloads).catch(() => [])).find((file) => file.endsWith('.whl'));
  if (!(await findWheel())) {
    say(`downloading ${what} with pip (${wheel.megabytes} MB)`);
    const partial = `${downloads}.partial`;
    const args = ['-m', 'pip', 'download', '--no-deps', '--only-binary=:all:', ...wheel.target];
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
  const file = path.join(downloads, (await findWheel()) ?? '');
  await checkHash(file, downloads);

  say(`unpacking what is needed of ${path.basename(file)}`);
  const wanted = [
    ...libraries.map((file) => `tensorflow/${file}`),
    ...headers.map((folder) => `tensorflow/include/${folder}/`),
  ];
  const unpack = await runProgram('python3', ['-c', unpackScript, file, deps, ...wanted], { env });
  if (unpack?.code !== 0) {
    await rm(downloads, { recursive: true, force: true }); // it may be the wheel that is broken
    throw new UserError(`cannot unpack ${path.basename(file)} (${unpack?.reason}): run the command again`);
  }
  const unpacked = path.join(deps, 'tensorflow');
  for (const file of libraries) await rename(path.join(unpacked, file), path.join(deps, 'lib', file));
  await rename(path.join(unpacked, 'include'), path.join(deps, 'include'));
  await rm(unpacked, { recursive: true });
  await rm(downloads, { recursive: true });
  return `pip's ${path.basename(file)}`;
}

/** @throws UserError for another file than the one that was tried out; it is removed */
async function checkHash(file: string, downloads: string): Promise<void> {
  const hash = createHash('sha256');
  for await (const piece of createReadStream(file)) hash.update(piece as Buffer);
  const found = hash.digest('hex');
  if (found === wheel.sha256) return;
  await rm(downloads, { recursive: true, force: true });
  throw new UserError(
    `${path.basename(file)} is not the file that this program was tried with: its SHA-256 is ${found}, should be ${wheel.sha256}`,
  );
}

/** argv: wheel, target, prefixes. Unpacks the entries with these prefixes. */
const unpackScript = `
import sys, zipfile
wheel, target, *wanted = sys.argv[1:]
with zipfile.ZipFile(wheel) as z:
    for name in z.namelist():
        if name.startswith(tuple(wanted)): z.extract(name, target)
`;
