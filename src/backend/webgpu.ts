/**
 * WebGPU on Node: TensorFlow.js's backend on Dawn, which npm's `webgpu` brings. For GPUs of any make, through Vulkan, Metal
 * or Direct3D; both packages are optional.
 *
 * `auto` never takes it: what it gains over native TensorFlow has not been measured on a GPU here. An adapter that computes
 * on the CPU (llvmpipe, lavapipe, SwiftShader) is slower than wasm and serves tests alone: it is refused unless the variable
 * `VTC_CLS_WEBGPU` is `software`.
 */
import * as tf from '@tensorflow/tfjs-core';
import { messageOf, UserError } from '../errors.ts';
import { activate, labelPackage, type Backend, type BackendReport } from './backend.ts';

// What is used here of WebGPU, as https://www.w3.org/TR/webgpu has it.
interface Adapter {
  info: AdapterInfo;
  limits: Record<string, number>;
  features: { has(name: string): boolean };
  requestDevice(wanted: { requiredFeatures: string[]; requiredLimits: object }): Promise<Device>;
}
export interface AdapterInfo {
  vendor: string;
  architecture: string;
  device: string;
  description: string;
  isFallbackAdapter?: boolean;
}
interface Device {
  limits: Record<string, number>;
  lost: Promise<{ reason: string; message: string }>;
  pushErrorScope(filter: string): void;
  popErrorScope(): Promise<{ message: string } | null>;
  destroy(): void;
}
interface Gpu {
  requestAdapter(wanted: object): Promise<Adapter | null>;
}
/** What is used of TensorFlow.js's backend. */
interface Reads {
  read(id: object): Promise<tf.backend_util.BackendValues>;
  readSync(id: object): tf.backend_util.BackendValues;
  tensorMap: { get(id: object): { values?: tf.backend_util.BackendValues | null; dtype: string } };
}

/** Those that TensorFlow.js's kernels go by; the device has WebGPU's small defaults for what is not asked for. */
const limitNames = [
  'maxBufferSize',
  'maxStorageBufferBindingSize',
  'maxComputeWorkgroupStorageSize',
  'maxComputeInvocationsPerWorkgroup',
  'maxComputeWorkgroupSizeX',
  'maxComputeWorkgroupSizeY',
  'maxComputeWorkgroupsPerDimension',
];

interface Running {
  device: Device;
  report: BackendReport;
  /** Why its numbers cannot be trusted any more. */
  failure?: string;
}
let running: Running | undefined;
let gpu: Gpu | undefined; // its devices die with it

export const webgpu: Backend = {
  name: 'webgpu',
  byNameOnly: true,
  async start() {
    if (!running || running.failure !== undefined || !tf.findBackendFactory('webgpu')) await openDevice();
    await activate('webgpu');
    return running!.report;
  },
  traits: {
    fastBatchedMatMul: true,
    columnBlockBytes: Infinity,
    requireMemory({ matrices }, what) {
      const largest = matrices.reduce((most, bytes) => Math.max(most, bytes), 0);
      const limit = largestBuffer(running!.device);
      if (largest <= limit) return;
      throw new UserError(
        `${what} has a matrix of ${largest} bytes, but a buffer of this webgpu device holds ${limit}: use another --backend`,
      );
    },
    prefersStored: () => false,
  },
};

const largestBuffer = ({ limits }: Device): number =>
  Math.min(limits['maxBufferSize'], limits['maxStorageBufferBindingSize']);

/** Opens the adapter's device and registers a backend on it. */
async function openDevice(): Promise<void> {
  const software = wantsSoftware(process.env['VTC_CLS_WEBGPU']);
  const { dawn, backend } = await importPackages();
  Object.assign(globalThis, dawn.globals); // the backend finds GPUBufferUsage and the like there
  gpu ??= dawn.create(process.platform === 'linux' ? ['backend=vulkan'] : []) as unknown as Gpu;
  const page = globalThis as { navigator?: object };
  page.navigator ??= {}; // Node 20 has none
  Object.defineProperty(page.navigator, 'gpu', { value: gpu, configurable: true });

  const adapter = await gpu.requestAdapter(
    software ? { forceFallbackAdapter: true } : { powerPreference: 'high-performance' },
  );
  if (!adapter) {
    throw new Error(`Dawn finds no ${software ? 'software ' : ''}adapter: is there a ${driver()}?`);
  }
  const { info } = adapter;
  if (isSoftware(info) && !software) {
    throw new Error(
      `its adapter, ${describe(info)}, computes on the CPU and is slower than wasm; ` +
        'VTC_CLS_WEBGPU=software in the environment takes it nevertheless, for tests',
    );
  }

  const device = await adapter.requestDevice({
    requiredFeatures: ['timestamp-query'].filter((name) => adapter.features.has(name)),
    requiredLimits: Object.fromEntries(limitNames.map((name) => [name, adapter.limits[name]])),
  });
  process.once('exit', () => device.destroy());
  const report = {
    device: `${isSoftware(info) ? 'CPU, software' : 'GPU'} (${describe(info)})`,
    version: `${labelPackage('@tensorflow/tfjs-backend-webgpu')}, ${labelPackage('webgpu')}`,
    threads: 1,
  };
  running = { device, report };

  // By default it computes small tensors on the CPU: then its numbers would come from two devices, by size.
  tf.env().set('WEBGPU_CPU_FORWARD', false);
  if (tf.findBackendFactory('webgpu')) tf.removeBackend('webgpu');
  const made = new backend.WebGPUBackend(device as never, info as never);
  guardReads(made as unknown as Reads, running);
  tf.registerBackend('webgpu', () => made);
  mendArgMax();
}

function wantsSoftware(value: string | undefined): boolean {
  if (value !== undefined && value !== 'software') {
    throw new UserError(`VTC_CLS_WEBGPU is "${value}": "software", or nothing, is what it can be`);
  }
  return value === 'software';
}

async function importPackages() {
  try {
    const [dawn, backend] = await Promise.all([import('webgpu'), import('@tensorflow/tfjs-backend-webgpu')]);
    return { dawn, backend };
  } catch (error) {
    throw new Error(
      `the optional packages webgpu and @tensorflow/tfjs-backend-webgpu do not load (${messageOf(error)})`,
      { cause: error },
    );
  }
}

/** Whether an adapter computes on the CPU. */
export function isSoftware(info: AdapterInfo): boolean {
  const names = `${info.vendor} ${info.architecture} ${info.device} ${info.description}`;
  return (
    info.isFallbackAdapter === true ||
    /swiftshader|llvmpipe|lavapipe|softpipe|basic render|warp\b/i.test(names)
  );
}

function describe({ vendor, architecture, device, description }: AdapterInfo): string {
  return [description || device, vendor, architecture].filter((part) => part !== '').join(', ') || 'unnamed';
}

const driver = (): string =>
  process.platform === 'linux' ? 'Vulkan driver (and libvulkan.so.1)' : 'GPU driver';

/**
 * What goes wrong on the device is no error to TensorFlow.js: of a buffer over the limits it reads what lay there before.
 * Here each read looks first whether anything has gone wrong since the device was opened, and then none succeeds any more.
 */
function guardReads(backend: Reads, state: Running): void {
  const { device } = state;
  const filters = ['validation', 'out-of-memory', 'internal'];
  const fail = (reason: string): void => void (state.failure ??= reason.split('\n')[0].replace(/\.$/, ''));
  void device.lost.then(({ reason, message }) => fail(`it is lost (${message || reason})`));

  const open = (): void => filters.forEach((filter) => device.pushErrorScope(filter));
  const close = async (): Promise<void> => {
    const found = filters.map(() => device.popErrorScope());
    open();
    for (const error of await Promise.all(found)) if (error) fail(error.message);
  };
  open();

  let looked: Promise<unknown> = Promise.resolve();
  const read = backend.read.bind(backend);
  backend.read = async (id) => {
    const values = await read(id).catch((error: unknown) => error as Error);
    looked = Promise.all([looked, close()]); // also what a read beside this one has found
    await looked.catch((error: unknown) => fail(messageOf(error))); // of a lost device
    if (state.failure !== undefined) {
      throw new UserError(
        `the webgpu device failed, so that its numbers are wrong: ${state.failure}; use another --backend`,
      );
    }
    if (values instanceof Error) throw values;
    return values;
  };
  backend.readSync = (id) => {
    const { values, dtype } = backend.tensorMap.get(id);
    if (values || dtype === 'string') return values as tf.backend_util.BackendValues;
    throw new UserError(
      'webgpu cannot read a tensor in place (dataSync), as this asks for: use another --backend',
    );
  };
}

/** TensorFlow.js's argMax and argMin of a vector have the shape [1] on webgpu, and [] everywhere else. */
function mendArgMax(): void {
  for (const kernelName of ['ArgMax', 'ArgMin']) {
    const theirs = tf.getKernel(kernelName, 'webgpu');
    if (mended.has(theirs.kernelFunc)) continue;
    const kernelFunc: tf.KernelFunc = (call) => {
      const found = theirs.kernelFunc(call) as tf.TensorInfo;
      return call.inputs['x']!.shape.length === 1 ? { ...found, shape: [] } : found;
    };
    mended.add(kernelFunc);
    tf.unregisterKernel(kernelName, 'webgpu');
    tf.registerKernel({ ...theirs, kernelFunc });
  }
}
const mended = new WeakSet<tf.KernelFunc>();
