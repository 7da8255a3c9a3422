/** Safetensors files: what the rest of the project imports. */
export type { TensorInfo } from './safetensors-header.ts';
export { openSafetensors } from './safetensors-reader.ts';
export type { SafetensorsFile } from './safetensors-reader.ts';
export { writeSafetensors } from './safetensors-writer.ts';
export type { TensorToWrite } from './safetensors-writer.ts';
