/** Safetensors files: what the rest of the project imports. */
export type { TensorInfo } from './safetensors-header.ts';
export { readSafetensors } from './safetensors-reader.ts';
export type { SafetensorsFile } from './safetensors-reader.ts';
export { encodeSafetensors, encodeSafetensorsHeader } from './safetensors-writer.ts';
export type { Tensors, TensorSpec, TensorToWrite } from './safetensors-writer.ts';
