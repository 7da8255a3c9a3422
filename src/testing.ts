/**
 * `vtc-cls/testing`: what every method of visual token compression must hold to, for your own tests of your own code. Plain
 * numbers and arrays go in; what is wrong comes out, each with the sentence why it matters. See testing/README.md.
 */
export * from './testing/arbitraries.ts';
export { checkCuts, cutWhys, type LayerCuts, type LayerTokens } from './testing/cut.ts';
export { cutLaw, mergeLaw, type CutPrompt, type Merging } from './testing/laws.ts';
export { checkMethod, type CheckOptions, type Finding } from './testing/method/check.ts';
export {
  methodProperties,
  type MethodProperty,
  type Outcome,
  type Question,
} from './testing/method/properties.ts';
export type { Observed, Trial, Tried } from './testing/method/observe.ts';
export { checkMerge, entriesOf, mergeWhys, type Merge, type WeightRow } from './testing/merge.ts';
export { checkSelection, scoreOf, selectionWhys, type Selection } from './testing/selection.ts';
export { selectionLaws, sumIsMean, type Law, type Select } from './testing/selection-laws.ts';
export { assertNone, formatViolations, type Violation } from './testing/violation.ts';
