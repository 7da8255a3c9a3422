/** `vtc setup-tensorflow` on machines that lack something, with programs of a line each in place of the real ones. */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { removeTensorflow, setupTensorflow, type Machine } from '../../src/cli/setup-tensorflow.ts';
import { UserError } from '../../src/errors.ts';
import { nativeFolder } from '../../src/backend/native.ts';

describe('setup-tensorflow', () => {
  let folder = '';
  let machine: Machine;
  let said: string[] = [];
  const root = () => nativeFolder('cpu', machine.env);
  const deps = () => path.join(root(), 'node_modules/@tensorflow/tfjs-node-gpu/deps');

  beforeEach(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'vtc-setup-'));
    await mkdir(path.join(folder, 'bin'));
    said = [];
    machine = {
      platform: 'linux',
      arch: 'x64',
      env: { PATH: path.join(folder, 'bin'), VTC_CLS_CACHE: path.join(folder, 'cache') },
      hasNative: () => false, // whatever is installed here
      freeBytes: () => Promise.resolve(1e12),
      say: (line) => said.push(line),
    };
  });
  afterEach(() => rm(folder, { recursive: true }));

  /** A program in PATH. */
  async function addProgram(name: string, script = 'exit 0'): Promise<void> {
    const file = path.join(folder, 'bin', name);
    await writeFile(file, `#!/bin/sh\n${script}\n`);
    await chmod(file, 0o755);
  }

  /** What `npm install` leaves. */
  async function addPackage(): Promise<void> {
    const modules = path.join(root(), 'node_modules');
    await mkdir(path.join(modules, '@tensorflow/tfjs-node-gpu'), { recursive: true });
    const packages = { 'node_modules/@tensorflow/tfjs-node-gpu': { version: '4.22.0' } };
    await writeFile(path.join(modules, '.package-lock.json'), JSON.stringify({ packages }));
    const headers = path.join(modules, 'node-api-headers/include');
    await mkdir(headers, { recursive: true });
    await writeFile(path.join(headers, 'node_api.h'), '');
  }

  async function addTensorflow(): Promise<string> {
    const tensorflow = path.join(folder, 'tensorflow');
    await mkdir(path.join(tensorflow, 'include/tensorflow/c'), { recursive: true });
    const files = ['libtensorflow_cc.so.2', 'libtensorflow_framework.so.2', 'include/tensorflow/c/c_api.h'];
    for (const file of files) await writeFile(path.join(tensorflow, file), '');
    return tensorflow;
  }

  const expectRefusal = (message: string, device: 'cpu' | 'cuda' = 'cpu') =>
    expect(setupTensorflow(device, machine)).rejects.toThrow(new UserError(message));

  test('another platform', async () => {
    machine.platform = 'darwin';
    machine.arch = 'arm64';
    await expectRefusal(
      'native TensorFlow is set up on linux x64 and arm64 only, this is darwin arm64: use --backend wasm',
    );
    machine.platform = 'linux';
    await expectRefusal(
      'the CUDA build is set up on linux x64 only, this is linux arm64: use --backend wasm',
      'cuda',
    );
    expect(existsSync(root())).toBe(false);
  });

  test('no compiler', async () => {
    await expectRefusal(
      'neither g++ nor clang++ is in PATH: sudo apt-get install g++, or name a C++ compiler in CXX',
    );
    await addProgram('g++');
    machine.env['CXX'] = 'c++-99';
    await expectRefusal('CXX names c++-99, which does not run: unset CXX, or name a C++ compiler');
  });

  test('no npm', async () => {
    await addProgram('clang++');
    await expectRefusal('npm is not in PATH: install Node with npm (sudo apt-get install npm)');
  });

  test('no room', async () => {
    await addProgram('g++');
    await addProgram('npm');
    machine.freeBytes = () => Promise.resolve(2.4e9);
    await expectRefusal(
      `${root()} has 2.4 GB free, 2.5 GB are needed: make room (npm cache clean --force, ` +
        'python3 -m pip cache purge) or name another folder in VTC_CLS_CACHE',
    );
  });

  test('npm takes every package by version and hash, from a lock file that names the package asked for', async () => {
    await addProgram('g++');
    await addProgram('npm', 'test "$1" = --version || { echo "error: $*" >&2; exit 1; }');
    await expect(setupTensorflow('cpu', machine)).rejects.toThrow(`error: ci --ignore-scripts`);
    const lock = JSON.parse(await readFile(path.join(root(), 'package-lock.json'), 'utf8')) as {
      packages: Record<string, { version: string; integrity?: string }>;
    };
    const { '': own, ...packages } = lock.packages;
    expect(own).toMatchObject({ dependencies: { '@tensorflow/tfjs-node-gpu': '4.22.0' } });
    for (const [name, { integrity }] of Object.entries(packages)) expect(integrity, name).toMatch(/^sha512-/);
  });

  test('npm fails', async () => {
    await addProgram('g++');
    await addProgram('npm', 'test "$1" = --version || { echo "npm error code E404" >&2; exit 1; }');
    await expectRefusal(
      'npm cannot install @tensorflow/tfjs-node-gpu@4.22.0 (npm error code E404): ' +
        'try npm view @tensorflow/tfjs-node-gpu@4.22.0 version',
    );
  });

  describe('with compiler and npm', () => {
    const otherwise = 'or name the folder of an existing TensorFlow in VTC_TENSORFLOW';
    beforeEach(async () => {
      await addProgram('g++', 'while test $# -gt 0; do test "$1" = -o && : > "$2"; shift; done; true');
      await addProgram('npm');
      await addPackage();
    });

    test('VTC_TENSORFLOW names a folder without TensorFlow', async () => {
      machine.env['VTC_TENSORFLOW'] = folder;
      await expectRefusal(
        `VTC_TENSORFLOW names ${folder}, which holds no libtensorflow_cc.so.2: ` +
          'name the folder "tensorflow" of a Python installation, or unset it (unset VTC_TENSORFLOW)',
      );
    });

    test('no python3, no pip, nothing to download', async () => {
      await expectRefusal(`python3 is not in PATH: sudo apt-get install python3 python3-pip, ${otherwise}`);
      await addProgram('python3', 'exit 1');
      await expectRefusal(`python3 has no pip: sudo apt-get install python3-pip, ${otherwise}`);
      await addProgram(
        'python3',
        'case "$*" in *download*) echo "ERROR: No matching distribution"; exit 1; esac',
      );
      await expectRefusal(
        'pip cannot download tensorflow-cpu==2.21.0 (ERROR: No matching distribution): ' +
          `try python3 -m pip download --no-deps tensorflow-cpu==2.21.0, ${otherwise}`,
      );
      expect(existsSync(deps())).toBe(false);
    });

    test('for arm64, whose wheel has no known hash, nothing is downloaded', async () => {
      machine.arch = 'arm64';
      await addProgram('python3', 'case "$*" in *download*) exit 99; esac');
      await expectRefusal(
        'for arm64 an installed TensorFlow is linked: python3 -m pip install "tensorflow==2.21.0" ' +
          `and this command again, ${otherwise}`,
      );
    });

    test('another wheel than the one that was tried is refused and removed', async () => {
      await addProgram(
        'python3',
        'case "$*" in *download*) for last in "$@"; do test "$dest" = 1 && to=$last; dest=0; ' +
          'test "$last" = --dest && dest=1; done; /bin/mkdir -p "$to"; echo changed > "$to/tensorflow_cpu.whl";; esac',
      );
      await expectRefusal(
        'tensorflow_cpu.whl is not the file that this program was tried with: its SHA-256 is ' +
          `${createHash('sha256').update('changed\n').digest('hex')}, ` +
          'should be 2b847d217b02ee7731ed91431daf3250daa0196c3c94614d23be27232e6e5b6c',
      );
      expect(existsSync(path.join(root(), 'wheel'))).toBe(false);
      expect(existsSync(deps())).toBe(false);
    });

    test('a TensorFlow that Python finds is linked; a run goes on where the one before ended', async () => {
      const tensorflow = await addTensorflow();
      await addProgram('python3', `echo ${tensorflow}`);
      // The last step starts what was built, and here nothing real was.
      await expect(setupTensorflow('cpu', machine)).rejects.toThrow(
        /^the build in \S+ does not work \(.+\): npm run setup:tensorflow -- --remove, then once more$/,
      );
      expect(said).toContain('compiling the binding …');
      expect((await readdir(deps())).sort()).toEqual(['include', 'lib', 'source.txt']);
      expect(existsSync(path.join(root(), 'ready.json'))).toBe(false);

      said = [];
      await expect(setupTensorflow('cpu', machine)).rejects.toThrow(UserError);
      expect(said).toEqual(['computing known values with it …']);

      said = [];
      await rm(path.join(tensorflow, 'libtensorflow_cc.so.2')); // the link leads nowhere now
      machine.env['VTC_TENSORFLOW'] = tensorflow;
      await expect(setupTensorflow('cpu', machine)).rejects.toThrow('holds no libtensorflow_cc.so.2');
      expect(said.at(-1)).toBe("fetching TensorFlow's libraries …");
    });

    test('products that do not compile are done without, and it is said what that costs', async () => {
      await addProgram('python3', `echo ${await addTensorflow()}`);
      await addProgram(
        'g++',
        'case "$*" in *products.cc*) echo "error: no such thing" >&2; exit 1; esac; ' +
          'while test $# -gt 0; do test "$1" = -o && : > "$2"; shift; done; true',
      );
      await expect(setupTensorflow('cpu', machine)).rejects.toThrow('does not work');
      expect(said).toContain(
        'g++ cannot (error: no such thing): such weights are widened instead, and a token takes thrice as long',
      );
      expect(await readdir(path.join(root(), 'node_modules/@tensorflow/tfjs-node-gpu/lib/napi-v8'))).toEqual([
        'tfjs_binding.node',
      ]);
    });

    test('for CUDA a TensorFlow built without it is left aside', async () => {
      const tensorflow = await addTensorflow();
      await symlink(path.join(root()), nativeFolder('cuda', machine.env));
      await addProgram('nvidia-smi', 'echo "NVIDIA H100 80GB HBM3, 9.0, 550.54.15"');
      await addProgram('python3', `case "$*" in *find_spec*) echo ${tensorflow};; *) exit 1; esac`);
      await expectRefusal(
        'for CUDA an installed TensorFlow is linked: python3 -m pip install "tensorflow[and-cuda]==2.21.0" ' +
          `and this command again, ${otherwise}`,
        'cuda',
      );
      expect(said).toContain(`${tensorflow} was built without CUDA: left aside`);
    });
  });

  describe('a GPU for the CUDA build', () => {
    beforeEach(async () => {
      await addProgram('g++');
      await addProgram('npm');
    });

    test.each([
      [undefined, 'nvidia-smi is not in PATH, so there is no NVIDIA driver: install it, or '],
      ['echo "No devices were found" >&2; exit 6', 'nvidia-smi finds no GPU (No devices were found); '],
      ['echo', 'nvidia-smi names no GPU; '],
    ])('is not there: %j', async (program, message) => {
      if (program !== undefined) await addProgram('nvidia-smi', program);
      await expectRefusal(`${message}--without-gpu builds it for a machine that has one`, 'cuda');
    });

    test('has too old a driver, or is too new', async () => {
      await addProgram('nvidia-smi', 'echo "Tesla V100-SXM2-16GB, 7.0, 470.82.01"');
      await expectRefusal('the NVIDIA driver is 470.82.01; CUDA 12 needs 525 or later', 'cuda');
      await addProgram('nvidia-smi', 'echo "NVIDIA B200, 10.0, 570.86.10"');
      await expectRefusal(
        'NVIDIA B200 has compute capability 10.0, and TensorFlow 2.21 is built for less than 10: it fails or hangs ' +
          'there; --force tries it all the same',
        'cuda',
      );
      await addPackage();
      await expect(setupTensorflow('cuda', machine, { force: true })).rejects.toThrow(
        'for CUDA an installed TensorFlow',
      );
      await expect(setupTensorflow('cuda', machine, { withoutGpu: true })).rejects.toThrow(
        'for CUDA an installed',
      );
    });
  });

  test('--remove removes one build and leaves the other', async () => {
    const cuda = nativeFolder('cuda', machine.env);
    for (const each of [root(), cuda]) await mkdir(path.join(each, 'node_modules'), { recursive: true });
    await removeTensorflow('cpu', machine);
    await removeTensorflow('cpu', machine);
    expect(said).toEqual([`removed ${root()}`, `there is nothing to remove in ${root()}`]);
    expect([root(), cuda].map(existsSync)).toEqual([false, true]);
  });
});
