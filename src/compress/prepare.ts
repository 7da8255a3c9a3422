import { checkBudget, checkOptions } from './checks.ts';
import { joinSource } from './frames.ts';
import type { Method, MethodOptions, Resources, Source, Stages } from './method.ts';
import { checkCls } from './selected-layer.ts';

/**
 * What a method does, for a model and a budget. Between the decoder's layers a [CLS] that the checkpoint keeps is one
 * more of the picture's tokens, so the share of the budget is one more too; and of several pictures the tokens of all are there.
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
  if (method.stages[0] !== 'between') {
    const stages = method.prepare(source, budget, options, resources);
    if (stages.needs?.clsAttention?.length) checkCls(source, method.name);
    return stages;
  }
  const { frames: F = 1, patches: P, visualTokens } = source;
  const all = F === 1 ? source : joinSource(source, F);
  return method.prepare(all, F * (budget + visualTokens - P), options, resources);
}
