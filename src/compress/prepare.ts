import { checkBudget, checkOptions } from './checks.ts';
import type { Method, MethodOptions, Resources, Source, Stages } from './method.ts';

/**
 * What a method does, for a model and a budget. Between the decoder's layers a [CLS] that the checkpoint keeps is one
 * more of the picture's tokens, so the share of the budget is one more too.
 * @param budget U, of the patches
 * @throws UserError for a budget, options or resources that cannot serve
 */
export function prepareMethod(
  method: Method,
  source: Source,
  budget: number,
  options: MethodOptions = method.defaults,
  resources: Resources = {},
): Stages {
  checkOptions(method, options);
  checkBudget(method.name, budget, source.patches);
  const cls = method.stages[0] === 'between' ? source.visualTokens - source.patches : 0;
  return method.prepare(source, budget + cls, options, resources);
}
