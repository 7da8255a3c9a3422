import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { homedir, tmpdir } from 'node:os';
import path from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { startBackend } from '../../src/backend/start.ts';
import {
  cacheFolder,
  hasNative,
  loadNative,
  nativeFolder,
  readNativeBuild,
  requireBuild,
  type NativeDevice,
} from '../../src/backend/native.ts';

const require = createRequire(import.meta.url);

describe('the cache folder', () => {
  const fallback = path.join(homedir(), '.cache', 'vtc-cls');
  test.each([
    [{ VTC_CLS_CACHE: '/own', XDG_CACHE_HOME: '/xdg' }, '/own'],
    [{ VTC_CLS_CACHE: 'own' }, path.resolve('own')],
    [{ VTC_CLS_CACHE: '', XDG_CACHE_HOME: '/xdg' }, '/xdg/vtc-cls'],
    [{ XDG_CACHE_HOME: 'relative' }, fallback],
    [{}, fallback],
  ])('of %j is %s', (env, folder) => {
    expect(cacheFolder(env)).toBe(folder);
    expect(nativeFolder('cuda', env)).toBe(path.join(folder, 'tensorflow-cuda'));
  });
});

/** Builds whose package is a few lines of JavaScript instead of TensorFlow. */
describe('a build', () => {
  let cache = '';
  beforeEach(async () => {
    cache = await mkdtemp(path.join(tmpdir(), 'vtc-native-'));
    vi.stubEnv('VTC_CLS_CACHE', cache);
  });
  afterEach(async () => {
    vi.unstubAllEnvs();
    if (tf.findBackendFactory('tensorflow')) tf.removeBackend('tensorflow');
    await rm(cache, { recursive: true });
  });

  async function writeBuild(device: NativeDevice, code: string): Promise<string> {
    const folder = nativeFolder(device);
    const packages = {
      'tfjs-node-gpu': code,
      'tfjs-core': "module.exports = { engine: () => 'its own', Tensor: 'its own' };",
    };
    for (const [name, source] of Object.entries(packages)) {
      const at = path.join(folder, 'node_modules', '@tensorflow', name);
      await mkdir(at, { recursive: true });
      await writeFile(path.join(at, 'package.json'), JSON.stringify({ version: '1.2.3' }));
      await writeFile(path.join(at, 'index.js'), source);
    }
    const ready = { device, tensorflow: '9.9.9', libraries: 'nowhere' };
    await writeFile(path.join(folder, 'ready.json'), JSON.stringify(ready));
    return folder;
  }

  test('gets our core, not the one beside it, and leaves no trace in the resolver', async () => {
    const folder = await writeBuild('cpu', "module.exports = require('@tensorflow/tfjs-core');");
    expect(loadNative()).toEqual({ label: '@tensorflow/tfjs-node-gpu 1.2.3', needsGpu: false });
    expect(require(path.join(folder, 'node_modules/@tensorflow/tfjs-node-gpu'))).toBe(
      require('@tensorflow/tfjs-core'),
    );
    const inside = createRequire(path.join(folder, 'package.json'));
    expect(inside.resolve('@tensorflow/tfjs-core')).toContain(folder);
  });

  test('with a second core is refused', async () => {
    const folder = await writeBuild('cpu', "module.exports = require('../tfjs-core');");
    expect(() => requireBuild(folder, 'cpu')).toThrow(
      '@tensorflow/tfjs-node-gpu brought a second copy of TensorFlow.js',
    );
  });

  test('that does not load gives its reason and the command', async () => {
    const folder = await writeBuild('cuda', "throw new Error('libcudart.so.12: not found\\nand more');");
    await expect(startBackend('tensorflow')).rejects.toThrow(
      `the build in ${folder} does not load (libcudart.so.12: not found); ` +
        'npm run setup:tensorflow -- --cuda builds it',
    );
    const inside = createRequire(path.join(folder, 'package.json'));
    expect(inside.resolve('@tensorflow/tfjs-core')).toContain(folder);
  });

  test('for CUDA that sees no GPU is an error, not the CPU', async () => {
    const backend = '{ isUsingGpuDevice: false, dispose() {} }';
    await writeBuild(
      'cuda',
      `const tf = require('@tensorflow/tfjs-core'); tf.registerBackend('tensorflow', () => (${backend}));
      module.exports = tf;`,
    );
    await writeBuild('cpu', "module.exports = require('@tensorflow/tfjs-core');");
    await expect(startBackend('tensorflow')).rejects.toThrow(
      /the CUDA build sees no GPU; npm run setup:tensorflow -- --cuda says why, and with --remove removes that build$/,
    );
  });

  test('that was not finished is none', async () => {
    const folder = await writeBuild('cpu', '');
    expect(hasNative()).toBe(true);
    await writeFile(path.join(folder, 'ready.json'), '{"device": "c');
    expect(readNativeBuild(folder)).toBeUndefined();
  });
});

test('gradients are registered into our core by the build that is set up', async (context) => {
  const folder = nativeFolder('cpu');
  context.skip(!readNativeBuild(folder), `no build in ${folder}: npm run setup:tensorflow`);
  await startBackend('tensorflow');
  const gradient = tf.tidy(() =>
    tf
      .grad((x) => tf.sum(tf.square(x)))(tf.tensor1d([1, -2]))
      .arraySync(),
  );
  expect(gradient).toEqual([2, -4]);
  expect(require.cache[require.resolve('@tensorflow/tfjs-core')]).toBeDefined();
  const cores = Object.keys(require.cache).filter((file) => /tfjs-core.dist.tf-core/.test(file));
  expect(cores).toEqual([require.resolve('@tensorflow/tfjs-core')]);
});
