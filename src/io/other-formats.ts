/** Weights of other kinds, named for what they are, with the next step. */
import { decodeLatin1 } from '../bytes.ts';

/** By their files' names. */
const byName: [name: RegExp, what: (file: string) => string][] = [
  [
    /^pytorch_model.*\.bin(\.index\.json)?$|\.pth$|\.pt$|^consolidated\..*$/,
    (file) =>
      `it has ${file}, weights as a Python pickle, and only safetensors are read: vtc convert DIR --to DIR makes them, and runs ` +
      'nothing of it',
  ],
  [
    /^adapter_(config\.json|model\.(safetensors|bin))$/,
    (file) =>
      `it has ${file}, an adapter (LoRA) without its model: merge the two with peft's merge_and_unload() and save that`,
  ],
  [
    /\.gguf$/i,
    (file) => `it has ${file}, llama.cpp's GGUF format: take the checkpoint that it was made from`,
  ],
  [
    /\.onnx(_data)?$|^onnx$/,
    (file) => `it has ${file}, an ONNX graph: take the checkpoint that it was made from`,
  ],
  [
    /^tf_model.*\.h5$|\.ckpt$/,
    (file) => `it has ${file}, TensorFlow's weights: save it from transformers in PyTorch's form`,
  ],
  [
    /^flax_model.*\.msgpack$/,
    (file) => `it has ${file}, Flax's weights: save it from transformers in PyTorch's form`,
  ],
  [
    /^(?!model\.).*\.safetensors$/,
    (file) =>
      `it has ${file}: weights must be named model.safetensors, or have model.safetensors.index.json beside them`,
  ],
];

/** What a folder holds instead of what is read; undefined where nothing of it is known. */
export function nameOtherWeights(names: readonly string[]): string | undefined {
  for (const [pattern, what] of byName) {
    const file = [...names].sort().find((name) => pattern.test(name));
    if (file !== undefined) return what(file);
  }
  return undefined;
}

/** By a file's first bytes, as Latin-1. */
const byStart: [start: RegExp, what: string][] = [
  [/^GGUF/, "in llama.cpp's GGUF format: take the checkpoint that it was made from"],
  [
    /^PK\x03\x04|^\x80[\x02-\x05]/,
    "a Python pickle (PyTorch's .bin) under this name: named pytorch_model.bin, vtc convert reads it",
  ],
  [/^\x89HDF/, "in HDF5 (TensorFlow's .h5) under this name: save it as safetensors"],
  [/^\s*<(!doctype|html|\?xml)/i, 'a web page, not a file of weights: download it again'],
  [/^\s*[{[]/, 'JSON text, not a file of weights'],
];

/** What a file is that is no safetensors file; undefined where that is not known. */
export function nameOtherFormat(start: Uint8Array): string | undefined {
  const text = decodeLatin1(start);
  return byStart.find(([pattern]) => pattern.test(text))?.[1];
}
