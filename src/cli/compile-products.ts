/** Compiles backend/native: the arithmetic once for each instruction set, then what chooses among them and tells TensorFlow. */
import { mkdtemp, readdir, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { runProgram } from './programs.ts';

/** Instruction sets by processor, under the names that products.cc has for them. */
const forms: Record<string, Record<string, string[]>> = {
  x64: { avx512: ['-march=x86-64-v4'], avx2: ['-march=x86-64-v3'], portable: [] },
  arm64: { neon: [] },
};

interface CompileRequest {
  compiler: string;
  /** The folder of the C++. */
  sources: string;
  /** Folders of TensorFlow's headers and Node's. */
  includes: string[];
  /** The folder of TensorFlow's libraries. */
  libraries: string;
  arch: string;
  env: NodeJS.ProcessEnv;
}

/** Those of other versions, which bear other hashes. */
async function removeOlder(file: string): Promise<void> {
  const [folder, name] = [path.dirname(file), path.basename(file)];
  const older = (await readdir(folder)).filter(
    (other) => /^vtc_products-\w+\.node$/.test(other) && other !== name,
  );
  for (const other of older) await rm(path.join(folder, other), { force: true });
}

/**
 * The file appears whole or not at all.
 * @returns why it could not be made, or nothing
 */
export async function compileProducts(file: string, request: CompileRequest): Promise<string | undefined> {
  const { compiler, sources, includes, libraries, arch, env } = request;
  const folder = await mkdtemp(`${file}.`);
  const at = (name: string) => path.join(folder, name);
  const run = async (...args: string[]) => {
    const ran = await runProgram(compiler, ['-fPIC', '-std=c++17', ...args], { env });
    return ran?.code === 0 ? undefined : (ran?.reason ?? 'it does not run');
  };
  try {
    const objects: string[] = [];
    for (const [form, flags] of Object.entries(forms[arch] ?? { portable: [] })) {
      objects.push(at(`${form}.o`));
      const define = `-DVTC_FORM=${form}`;
      const source = path.join(sources, 'rows.cc');
      const reason = await run('-O3', '-Wno-psabi', define, ...flags, '-c', source, '-o', objects.at(-1)!);
      if (reason) return reason;
    }
    const link = ['-shared', `-L${libraries}`, '-l:libtensorflow_cc.so.2', '-l:libtensorflow_framework.so.2'];
    const reason = await run(
      ...['-O2', '-DNAPI_VERSION=8', ...includes.map((include) => `-I${include}`)],
      ...[path.join(sources, 'products.cc'), ...objects, '-o', at('products.node'), ...link],
      '-Wl,-rpath,$ORIGIN/../../deps/lib', // found from its own place
    );
    if (reason) return reason;
    await removeOlder(file);
    await rename(at('products.node'), file);
    return undefined;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
