/**
 * The public API, in data order. This is the core, which runs wherever JavaScript does; `node.ts` adds files on disk,
 * pictures' decoders and the backends' start.
 */
export * as tf from '@tensorflow/tfjs-core'; // the one instance that every tensor here belongs to
export { UserError } from './errors.ts';
export { createRandom, type Random } from './random.ts';

// The axis legend, what the layers must know of a backend, the trace
export { shape, type AxisOf, ShapeError, type Dims } from './tensor/axes.ts';
export { setTraits, type BackendTraits, type WeightBytes } from './tensor/traits.ts';
export { guardHeap, wasmTraits } from './tensor/wasm-heap.ts';
export { free, scope, type Ownable, type Scope } from './tensor/scope.ts';
export {
  applyMatrix,
  denseOf,
  fatesOf,
  identity,
  keepToken,
  matrixOf,
  meanOf,
  multiply,
  pickedBy,
  picking,
  type Fates,
  type Row,
  type TokenMatrix,
} from './tensor/token-matrix.ts';
export {
  createTrace,
  traceAxes,
  watchSteps,
  type RecordedTrace,
  type Step,
  type Trace,
  type TraceName,
  type TraceOptions,
  type Promised,
  type Recorded,
} from './tensor/trace.ts';

// Files
export type { ByteSource, Folder } from './folder.ts';
export type { Dtype } from './io/dtype.ts';
export { fetchFolder } from './io/fetch-folder.ts';
export {
  encodeSafetensors,
  readSafetensors,
  type SafetensorsFile,
  type TensorToWrite,
} from './io/safetensors.ts';
export type { TensorInfo } from './io/safetensors-header.ts';
export type { Tensors } from './io/safetensors-writer.ts';
export { openWeights, type WeightFiles } from './io/sharded.ts';

// Image → pixels
export type { Picture, Sides } from './image/picture.ts';
export {
  clipPreprocess,
  preprocess,
  readPreprocessConfig,
  type PreprocessConfig,
} from './image/preprocess.ts';
export { resizeBicubic } from './image/resize.ts';

// Text → token ids, and back
export { inPlace, type Runner } from './text/runner.ts';
export { readTokenizer, type Tokenizer } from './text/tokenizer.ts';
export { createTextStream, type TextStream } from './text/stream.ts';
export {
  cutAtImage,
  cutAtImages,
  llavaPrompt,
  readPromptTemplate,
  type ImagePrompt,
  type PromptTemplate,
  type TemplateChoice,
} from './text/prompt.ts';
export type { TemplateSource } from './text/template.ts';

// Tensor ops
export {
  attend,
  MASKED,
  attendRow,
  causalMask,
  mergeHeads,
  splitHeads,
  type Attention,
  type AttentionOptions,
} from './tensor/attention.ts';
export { activations, type Activation } from './tensor/activation.ts';
export { gatherTokens } from './tensor/gather.ts';
export { linear, type Linear, type Matrix, type Table } from './tensor/linear.ts';
export { layerNorm, rmsNorm, type LayerNorm } from './tensor/norm.ts';

// Vision tower, projector, decoder
export {
  attendOpen,
  clipBlock,
  feedForward,
  openBlock,
  readClsAttention,
  type OpenBlock,
  type ClipBlockOutput,
  type ClipBlockConfig,
  type ClipBlockNeeds,
} from './vision/block.ts';
export type { ClipVisionWeights, ClipBlockWeights } from './vision/weights.ts';
export {
  runClipVision,
  type ClipVision,
  type VisionNeeds,
  type VisionOutput,
  type Unfinished,
} from './vision/clip.ts';
export type { Features } from './vision/features.ts';
export { selectFeatures, type SelectedFeatures } from './vision/select.ts';
export {
  clipTower,
  type CoarserPicture,
  type InTower,
  type TowerCut,
  type TowerView,
  type VisionTower,
  type Sight,
  type SightNeeds,
} from './vision/tower.ts';
export { patchCount, type ClipVisionConfig } from './vision/config.ts';
export {
  contrast,
  embedPictures,
  embedTexts,
  type Clip,
  type ClipContrastWeights,
} from './vision/contrastive.ts';
export type { ClipTextConfig } from './vision/text-config.ts';
export { runClipText, type ClipText, type ClipTextWeights, type ClipTextOutput } from './vision/text.ts';
export { embedImage } from './vision/embeddings.ts';
export { project, type Projector, type ProjectorConfig, type ProjectorWeights } from './projector.ts';
export { llamaBlock, type LlamaBlockOutput, type LlamaBlockContext } from './decoder/block.ts';
export { createCache, type KvCache, type LayerCache } from './decoder/cache.ts';
export type { DecoderConfig, RopeScaling } from './decoder/config.ts';
export {
  decode,
  generate,
  prefill,
  writeOn,
  type GenerateOptions,
  type Session,
  type PrefillOptions,
  type DecodingOption,
  type Written,
} from './decoder/generate.ts';
export type { LayerStream } from './decoder/layer-stream.ts';
export { runLlama, type Llama, type LlamaRun } from './decoder/llama.ts';
export { applyRope, createRope, ropeAt, type Rope, type RopeRows } from './decoder/rope.ts';
export { greedy, pickToken, type Sampling } from './decoder/sample.ts';
export type { LlamaWeights, LlamaBlockWeights } from './decoder/weights.ts';
export type { NumberToken } from './decoder/number-token.ts';
export { embedText, spliceImage, type OriginalPlaces, type SplicedPrompt } from './decoder/splice.ts';
export { spliceFrames } from './decoder/splice-frames.ts';
export type {
  DecoderInput,
  DecoderState,
  FrameOf,
  LayerHook,
  LayerLimits,
  LayerPass,
  LayerView,
  Role,
} from './decoder/state.ts';

// Compression
export { parseBudget } from './compress/budget.ts';
export { checked, MethodFault } from './compress/checked.ts';
export { checkShare, checkWhole } from './compress/checks.ts';
export { compress, type CompressedPictures, type Compressing } from './compress/compress.ts';
export { ensembleNames, ensembles, type EnsembleName, type Ensemble } from './compress/ensemble.ts';
export { frameChoices, type FrameChoice } from './compress/frames.ts';
export { descending, readPictures } from './compress/host.ts';
export { countImage, ofImage } from './compress/image-tokens.ts';
export {
  stages,
  type Choice,
  type Method,
  type MethodOptions,
  type Resources,
  type Seen,
  type Sharing,
  type Source,
  type Stage,
  type Stages,
  type TowerNeeds,
  type TrainedParts,
  type Words,
} from './compress/method.ts';
export { findMethod, methodOptions, methods, systems } from './compress/registry.ts';
export type { Leaf, Tree } from './io/weight-table.ts';
export {
  withWeights,
  type AnySystem,
  type ModelConfigs,
  type Trained,
  type TrainedSystem,
} from './compress/trained/system.ts';
export { clsLayer, gridOf, onlyLayer, selectedLayer } from './compress/selected-layer.ts';
export { scoreByCls } from './compress/score.ts';
export { keepBest, keepTopK } from './compress/top-k.ts';
export { vtcCls, type VtcClsOptions } from './compress/vtc-cls.ts';
export { findWithdrawal, type WithdrawalSearch, type WithdrawalOptions } from './compress/vtw-search.ts';
export { measureHeads, nameInactiveHeads } from './compress/yopo-heads.ts';

// Checkpoints, and the whole of it
export {
  readArchitecture,
  viewsOf,
  visualTokenCount,
  type Architecture,
  type ClipConfig,
  type LlavaConfig,
  type ClipVisionOnly,
} from './checkpoint/architecture.ts';
export {
  joinClip,
  loadModel,
  readCheckedConfig,
  type Llava,
  type Model,
  type LoadOptions,
  type LoadProgress,
} from './checkpoint/load.ts';
export { keepings, type Keeping } from './checkpoint/keeping.ts';
export type { HalfFormat, HalfMatrix } from './tensor/half.ts';
export { chooseResolution, countPatches, layOutViews, type Views, type ViewPatches } from './image/views.ts';
export {
  cutPrompt,
  readAsker,
  readQuestion,
  takePicture,
  viewsOfPicture,
  type LoadedPicture,
  type Asker,
  type Wording,
  type Asked,
} from './inputs.ts';
export {
  describeSource,
  positionModes,
  prepare,
  prepareAnswer,
  type ChosenMethod,
  type Plan,
  type Positions,
} from './plan.ts';
export { answer, choose, reply, see, type Answer, type AnswerOptions, type SeenPictures } from './story.ts';
export type { ProjectionBias } from './decoder/families.ts';
export { cacheBytes, decoderLayerMacs, prefillMacs, visionMacs } from './cost.ts';
