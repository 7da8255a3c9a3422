/** The visitor against the method. */
import { useRef } from 'preact/hooks';
import { answered, change, facts, lit, paintedTold, rivalTold, sheet, shown, state, told } from '../store.ts';
import type { Told } from '../engine/engine.ts';
import { chanceOf, topWords, wantedWord } from './words.ts';
import { Panel, PatchGrid, Section, patchUnder, percent } from './parts.tsx';

export function BeatView() {
  const { painted, U } = state.value;
  const has = new Set(painted);
  const painting = useRef<boolean | undefined>(undefined);
  const root = useRef<HTMLDivElement>(null);
  const set = (patch: number, on: boolean) => {
    if (has.has(patch) === on) return;
    if (on && painted.length >= U) return;
    const next = on ? [...painted, patch] : painted.filter((p) => p !== patch);
    change({ painted: next.sort((a, b) => a - b) });
  };
  const at = (event: PointerEvent) => patchUnder(event, root.current!);
  return (
    <Section id="beat" title="4 · Beat it">
      <p>
        You see the whole picture and you have read the question; [CLS] has not. Paint up to {U} patches that
        you would keep.
      </p>
      <div class="beat">
        <div
          ref={root}
          class="stacked paint"
          onPointerDown={(event) => {
            const patch = at(event);
            painting.current = !has.has(patch);
            set(patch, painting.current);
            root.current!.setPointerCapture(event.pointerId);
          }}
          onPointerMove={(event) => painting.current !== undefined && set(at(event), painting.current)}
          onPointerUp={() => (painting.current = undefined)}
          onPointerCancel={() => (painting.current = undefined)}
        >
          <Panel
            picture={shown.value}
            grid={facts.grid}
            kept={painted.length > 0 ? painted : undefined}
            lit={lit.value}
            side={240}
            label="the picture; what you did not paint is darkened"
          />
          <PatchGrid
            label="patches to paint"
            onPick={(patch) => set(patch, !has.has(patch))}
            cell={(patch) => ({ name: has.has(patch) ? 'painted' : 'not painted', selected: has.has(patch) })}
          />
        </div>
        <div>
          <p class="row">
            <span data-painted>
              {painted.length} of {U} painted
            </span>
            <button type="button" disabled={painted.length === 0} onClick={() => change({ painted: [] })}>
              clear
            </button>
            <button
              type="button"
              disabled={!told.value}
              onClick={() => change({ painted: [...(told.value?.stops.at(-1)?.kept ?? [])] })}
            >
              start from VTC-CLS’s choice
            </button>
          </p>
          <Scores />
        </div>
      </div>
    </Section>
  );
}

function Scores() {
  const wanted = wantedWord();
  if (!wanted) return null;
  const rival = state.value.rival;
  const best = [...sheet.value]
    .flatMap(([name, one]) =>
      name === 'none' || 'refused' in one ? [] : [{ name, p: chanceOf(one.logs, wanted.word), one }],
    )
    .sort((a, b) => b.p - a.p)[0] as { name: string; p: number; one: Told } | undefined;
  const rows: [string, Told | undefined][] = [
    ['you', answered(paintedTold.value)],
    ['VTC-CLS', told.value],
    [rival, answered(rivalTold.value)],
    ...(best ? [[`the best method here: ${best.name}`, best.one] as [string, Told]] : []),
  ];
  return (
    <table class="scores">
      <caption>How sure of “{wanted.word}” the model is, by who chose the patches</caption>
      <thead>
        <tr>
          <th scope="col">who chose</th>
          <th scope="col">how sure</th>
          <th scope="col">it says</th>
        </tr>
      </thead>
      <tbody>
        {rows.map(([name, one]) => {
          const p = one ? chanceOf(one.logs, wanted.word) : undefined;
          return (
            <tr>
              <th scope="row">{name}</th>
              <td>
                <span class="meter" style={{ '--share': p ?? 0 }} /> {p === undefined ? '—' : percent(p, 1)}
              </td>
              <td>{one ? topWords(one.logs, 1)[0].word : '—'}</td>
            </tr>
          );
        })}
      </tbody>
    </table>
  );
}
