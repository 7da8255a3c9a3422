/** Methods one after the other: `vtc-cls+fastv` prunes before the decoder and again between its layers. */
import { UserError } from '../errors.ts';
import { stageNames, stages, type Method, type Stages, type Source } from './method.ts';
import { prepareMethod } from './prepare.ts';

/**
 * Each acts at a stage of its own, in data order. The budget U is what the last of n leaves; the i-th leaves
 * round(P·(U/P)^(i/n)), an even share of the way from P. Those on the output leave the picture as it is and are not of the n.
 * @throws UserError with the reason, for methods that do not go together
 */
export function stack(methods: readonly Method[]): Method {
  const name = methods.map((method) => method.name).join('+');
  const places = methods.map(({ stages: [stage] }) => stages.indexOf(stage));
  for (const [i, place] of places.entries()) {
    const [before, method] = [methods[i - 1], methods[i]];
    if (method.name === 'none') throw new UserError(`${name}: none leaves nothing to stack`);
    if (i === 0 || place > places[i - 1]) continue;
    throw new UserError(
      place === places[i - 1]
        ? `${name}: ${before.name} and ${method.name} both act ${stageNames[stages[place]]}; each stage takes one method`
        : `${name}: ${method.name} acts ${stageNames[stages[place]]}, before ${before.name}: name it first`,
    );
  }
  const join = <T>(of: (method: Method) => Record<string, T>): Record<string, T> =>
    Object.assign({}, ...methods.map(of)) as Record<string, T>;
  const digests = methods.flatMap(({ digest }) => digest ?? []);
  return {
    name,
    digest: digests.length > 0 ? digests.join('-') : undefined,
    paper: methods.map(({ paper }) => paper).join('; '),
    summary: methods.map(({ summary }) => summary).join('; then '),
    stages: methods.flatMap((method) => method.stages),
    resources: methods.flatMap(({ resources = [] }) => resources),
    adds: methods.flatMap(({ adds = [] }) => adds),
    makesTokens: methods.some(({ makesTokens }) => makesTokens),
    single: methods.some(({ single }) => single),
    defaults: join(({ defaults }) => defaults),
    help: join(({ help }) => help),
    prepare(source, budget, options, resources) {
      let left = source;
      const n = methods.filter(({ stages: [stage] }) => stage !== 'output').length;
      return methods.reduce<Stages>((plan, method, i) => {
        const share = n === 0 ? 1 : Math.min(i + 1, n) / n;
        const U = Math.max(1, Math.round(source.patches * (budget / source.patches) ** share));
        const own = Object.fromEntries(
          Object.keys(method.defaults).map((option) => [option, options[option]]),
        );
        const next = prepareMethod(method, left, U, own, resources);
        refuseNeeds(name, method, methods[i - 1], plan, next);
        if (plan.brings && next.brings) {
          throw new UserError(
            `${name}: ${methods[i - 1].name} and ${method.name} were each trained with a decoder of its own`,
          );
        }
        left = after(left, U);
        return { ...plan, ...next, words: { ...plan.words, ...next.words } };
      }, {});
    },
  };
}

/** What a method may know that comes after one that left U of the picture's tokens. */
const after = (source: Source, U: number): Source => ({
  ...source,
  patches: U,
  grid: undefined,
  views: undefined,
  visualTokens: U + source.visualTokens - source.patches,
});

/** A tower whose tokens become fewer shows nothing of its insides. */
function refuseNeeds(
  name: string,
  method: Method,
  before: Method | undefined,
  plan: Stages,
  next: Stages,
): void {
  const needs = Object.values(next.needs ?? {}).some((layers) => layers.length > 0);
  if (!plan.inTower || !needs) return;
  throw new UserError(
    `${name}: ${method.name} reads the tower's attention of every patch, of which ${before?.name} leaves fewer`,
  );
}
