/**
 * The public API in Node: the core, whose readers of a folder take its path here and run what came with it within bounds of
 * time and memory; files, pictures and backends.
 */
export * from './index.ts';

export { backendNames, startBackend, type BackendChoice, type BackendName } from './backend/start.ts';
export { diskFolder, openFile } from './node/folder.ts';
export { listFrames, readFrames, type FrameFile } from './node/frames.ts';
export { locateModel } from './node/hub-cache.ts';
export { convertCheckpoint, type Converted, type ConvertOptions } from './node/convert.ts';
export { downloadModel, type Downloaded, type DownloadOptions } from './node/hub-download.ts';
export { openSafetensors, writeSafetensors } from './node/safetensors.ts';
export { decodeImage, decodeImageBytes, encodePng } from './node/decode.ts';
export { loadMethodFile, methodFinder, type SystemSource } from './node/method-file.ts';
export { loadSystem } from './node/systems.ts';
export { bounded } from './node/runner.ts';
export { shippedModel, type ShippedModel } from './node/shipped.ts';

// In place of the core's of the same names
export {
  loadModel,
  openWeights,
  readArchitecture,
  readCheckedConfig,
  readPreprocessConfig,
  readPromptTemplate,
  readTokenizer,
} from './node/checkpoint.ts';
export { readAsker, readPicture, readQuestion, type Wording, type Asked } from './node/inputs.ts';
