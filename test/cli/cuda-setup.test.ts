import { expect, test } from 'vitest';
import { describeMissing, missingLibraries, parseGpus } from '../../src/cli/cuda-setup.ts';

test('a line of nvidia-smi is a GPU', () => {
  expect(parseGpus('NVIDIA A100-SXM4-40GB, 8.0, 535.104.05\nNVIDIA H200, 9.0, 550.54.15\n')).toEqual([
    { name: 'NVIDIA A100-SXM4-40GB', capability: 8, driver: '535.104.05' },
    { name: 'NVIDIA H200', capability: 9, driver: '550.54.15' },
  ]);
  expect(parseGpus('')).toEqual([]);
  expect(parseGpus('Failed to initialize NVML')).toEqual([]);
});

test('of a log the libraries that were not found are told, each once', () => {
  const log = [
    'I tsl/platform/default/dso_loader.cc:70] Could not load dynamic library libcudnn.so.9; dlerror: libcudnn.so.9: cannot open shared object file: No such file or directory',
    'W core/common_runtime/gpu/gpu_device.cc:2343] Cannot dlopen some GPU libraries.',
    'I tsl/platform/default/dso_loader.cc:59] Successfully opened dynamic library libcublas.so.12',
    "W dso_loader.cc:55] Could not load dynamic library 'libcusparse.so.12'; dlerror: libcusparse.so.12: cannot open shared object file",
  ].join('\n');
  expect(missingLibraries(log)).toEqual(['libcudnn.so.9', 'libcusparse.so.12']);
  expect(describeMissing(missingLibraries(log))).toBe(
    `; it does not find libcudnn.so.9, libcusparse.so.12: python3 -m pip install "tensorflow[and-cuda]==2.21.0" brings CUDA 12's ` +
      'libraries beside TensorFlow',
  );
  expect(describeMissing(['libcudart.so.13'])).toContain("(PyTorch's wheels for CUDA 13 do not fit)");
  expect(describeMissing([])).toBe('');
});
