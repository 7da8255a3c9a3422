/** The method, one equation after the other, with the numbers of one patch. */
import equations from 'made:equations';
import { cell, change, facts, insides, maps, state, told } from '../store.ts';
import { topWords } from './words.ts';
import { Section, percent, placeOf, short } from './parts.tsx';

const few = (numbers: readonly number[]): string =>
  `[${numbers
    .slice(0, 4)
    .map((x) => x.toFixed(3))
    .join(', ')}, …]`;

export function StepsView() {
  const { pinned } = state.value;
  const step = Math.min(state.value.step, equations.length - 1);
  const patch = pinned ?? told.value?.stops[0].kept[0] ?? 0;
  const go = (to: number) => change({ step: Math.min(equations.length - 1, Math.max(0, to)) });
  const { title, words, formula, place, code } = equations[step];
  return (
    <Section id="steps" title="9 · Step by step">
      <p>
        The whole method, one equation at a time, with the line of this project’s source that computes it and
        the numbers of one patch: {placeOf(patch)}
        {pinned === undefined ? ' (pin another one anywhere on the page)' : ''}. ← and → walk.
      </p>
      {}
      <div
        class="step"
        role="group"
        tabIndex={0}
        aria-label="equations; left and right arrow keys walk"
        onKeyDown={(event) => {
          if (event.key !== 'ArrowLeft' && event.key !== 'ArrowRight') return;
          event.preventDefault();
          go(step + (event.key === 'ArrowRight' ? 1 : -1));
        }}
      >
        <div aria-live="polite">
          <h3>
            {step + 1} of {equations.length}: {title}
          </h3>
          <div class="formula" dangerouslySetInnerHTML={{ __html: formula }} />
          <p>{words}</p>
          <p class="source">
            <span class="note">src/{place}</span>
            <span dangerouslySetInnerHTML={{ __html: code }} />
          </p>
          <Numbers step={step} patch={patch} />
        </div>
        <p class="row">
          <button type="button" disabled={step === 0} onClick={() => go(step - 1)}>
            ← back
          </button>
          <button type="button" disabled={step === equations.length - 1} onClick={() => go(step + 1)}>
            on →
          </button>
        </p>
      </div>
    </Section>
  );
}

/** How this number came to be. */
function Numbers({ step, patch }: { step: number; patch: number }) {
  const made = maps.value;
  const said = told.value;
  if (!made || !said) return <p class="note">The numbers come with the model.</p>;
  const { K, U, layer } = state.value;
  const head = Math.max(0, state.value.head);
  const first = facts.visionLayers - K;
  const layerMean = (l: number) => made.cls[l].reduce((sum, row) => sum + row[patch], 0) / made.cls[l].length;
  const votes = Array.from({ length: K }, (_, i) => layerMean(first + i));
  const score = votes.reduce((sum, x) => sum + x, 0);
  const scores = said.scores ?? [];
  const rank = scores.filter((x, p) => x > scores[patch] || (x === scores[patch] && p < patch)).length;
  const limit = [...scores].sort((a, b) => b - a)[U - 1];
  const { kept } = said.stops[0];
  const row = kept.indexOf(patch);
  const inside = insides.value.cut;
  switch (step) {
    case 0: {
      const c = cell.value;
      if (!c) return <p class="note">…</p>;
      return (
        <p class="numbers" data-numbers>
          Layer {layer}, head {head}: q = {few(c.q)}, k = {few(c.k)}; q·k/√{c.q.length} = {c.score.toFixed(3)}
          ; less the largest score of all {c.scores.length}, {Math.max(...c.scores).toFixed(3)}, exp ={' '}
          {short(Math.exp(c.score - Math.max(...c.scores)))}; divided by the sum {c.sum.toFixed(3)}:{' '}
          <b>A = {short(c.attention)}</b>
        </p>
      );
    }
    case 1:
      return (
        <p class="numbers" data-numbers>
          Layer {layer}: ({made.cls[layer].map((values) => short(values[patch])).join(' + ')}) /{' '}
          {facts.visionHeads} = <b>{short(layerMean(layer))}</b>
        </p>
      );
    case 2:
      return (
        <p class="numbers" data-numbers>
          {votes.map((x, i) => `a⁽${first + i}⁾ ${short(x)}`).join(' + ')} = <b>s = {short(score)}</b>
        </p>
      );
    case 3:
      return (
        <p class="numbers" data-numbers>
          s = {short(scores[patch] ?? score)} is number {rank + 1} of {facts.patches}; the last that stays has{' '}
          {limit === undefined ? '…' : short(limit)}: <b>{rank < U ? 'it stays' : 'it is dropped'}</b>
        </p>
      );
    case 4:
      return row < 0 ? (
        <Dropped />
      ) : (
        <p class="numbers" data-numbers>
          Row {row} of W has its 1 in column {patch}, so row {row} of F′ is row {patch} of F:{' '}
          <b>{inside ? few(inside.features[row]) : '…'}</b>
        </p>
      );
    case 5:
      return row < 0 ? (
        <Dropped />
      ) : (
        <p class="numbers" data-numbers>
          Row {row} of Z: <b>{inside ? few(inside.projected[row]) : '…'}</b>
        </p>
      );
    case 6:
      return row < 0 ? (
        <Dropped />
      ) : (
        <p class="numbers" data-numbers>
          Token {inside ? inside.before.length + row : '…'} of {said.promptTokens}, counted from 0:{' '}
          {inside
            ? `${inside.before.length} of text, ${kept.length} patches, ${inside.after.length} of text`
            : '…'}
        </p>
      );
    default:
      return (
        <p class="numbers" data-numbers>
          {topWords(said.logs, 3)
            .map(({ word, p }) => `P(${word}) = ${percent(p, 1)}`)
            .join(', ')}
          : <b>{said.answer}</b>
        </p>
      );
  }
}

const Dropped = () => (
  <p class="numbers" data-numbers>
    This patch was dropped: no row of W names it. Pin one that stays to follow it further.
  </p>
);
