import { UserError } from '../errors.ts';
import { checkBudget, checkOptions } from './checks.ts';
import { joinSource } from './frames.ts';
import {
  stageNames,
  type Method,
  type MethodOptions,
  type Resources,
  type Source,
  type Stages,
} from './method.ts';
import { checkCls } from './selected-layer.ts';
import { prepareInViews } from './views.ts';

/**
 * What a method does, for a model and a budget. Between the decoder's layers a [CLS] that the checkpoint keeps is one
 * more of the picture's tokens, and so are the newlines of crops, so the share of the budget is so much more too; and of
 * several pictures the tokens of all are there.
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
  const { views } = source;
  if (method.stages[0] !== 'between') {
    if (views && method.stages[0] !== 'before') {
      throw new UserError(
        `${method.name} acts ${stageNames[method.stages[0]]}, where a picture of ${views.views.length} views is more than it knows`,
      );
    }
    const stages = views
      ? prepareInViews(method, source, views, budget, options, resources)
      : method.prepare(source, budget, options, resources);
    if (stages.needs?.clsAttention?.length) checkCls(source, method.name);
    return stages;
  }
  const { frames: F = 1, patches: P, visualTokens } = source;
  const all = F === 1 ? source : joinSource(source, F);
  return method.prepare(all, F * (budget + visualTokens - P), options, resources);
}
