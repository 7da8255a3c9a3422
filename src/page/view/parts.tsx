/** What several views are made of. */
import type { ComponentChildren } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import type { Picture } from '../../image/picture.ts';
import { change, facts, hovered } from '../store.ts';
import { drawPatches, type Overlay } from './draw.ts';

export const percent = (share: number, digits = 0): string => `${(100 * share).toFixed(digits)} %`;
/** Small numbers in full. */
export const short = (x: number): string =>
  x !== 0 && Math.abs(x) < 1e-3 ? x.toExponential(1) : x.toFixed(3);
/** `row 3, column 4` */
export const placeOf = (patch: number, grid = facts.grid): string =>
  `row ${Math.floor(patch / grid) + 1}, column ${(patch % grid) + 1}`;

/** The patch of a picture that lies under the pointer; beyond an edge the nearest. @param element shows all of the picture */
export function patchUnder(event: PointerEvent, element: Element): number {
  const { left, top, width, height } = element.getBoundingClientRect();
  const index = (share: number) => Math.min(facts.grid - 1, Math.max(0, Math.floor(share * facts.grid)));
  return index((event.clientY - top) / height) * facts.grid + index((event.clientX - left) / width);
}

/** A section of the page, with its number. */
export function Section(props: { id: string; title: string; children: ComponentChildren }) {
  return (
    <section id={props.id} aria-labelledby={`${props.id}-title`}>
      <h2 id={`${props.id}-title`}>{props.title}</h2>
      {props.children}
    </section>
  );
}

/** A small picture of patches. */
export function Panel(props: Overlay & { picture: Picture; label: string; side?: number }) {
  const { picture, label, side = 100, ...overlay } = props;
  const canvas = useRef<HTMLCanvasElement>(null);
  const { grid, values, kept, groups, lit: patch, outlined } = overlay;
  useEffect(
    () => drawPatches(canvas.current!, picture, overlay),
    [picture, grid, values, kept, groups, patch, outlined, side],
  );
  const move = (event: PointerEvent) => {
    if (overlay.grid === facts.grid) hovered.value = patchUnder(event, canvas.current!);
  };
  return (
    <canvas
      ref={canvas}
      class="panel"
      width={2 * side}
      height={2 * side}
      role={label === '' ? undefined : 'img'}
      aria-label={label === '' ? undefined : label}
      aria-hidden={label === ''}
      onPointerMove={move}
      onPointerLeave={() => (hovered.value = undefined)}
    />
  );
}

/** The patches as a grid that one can walk through with the arrow keys. */
export function PatchGrid(props: {
  label: string;
  grid?: number;
  /** What a patch is called, and how it looks. */
  cell: (patch: number) => { name: string; look?: string; selected?: boolean };
  onPick: (patch: number) => void;
}) {
  const { label, grid = facts.grid, cell, onPick } = props;
  const [focus, setFocus] = useState(0);
  const root = useRef<HTMLDivElement>(null);
  const go = (patch: number) => {
    setFocus(patch);
    root.current!.querySelector<HTMLElement>(`[data-patch="${patch}"]`)!.focus();
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const [x, y] = [focus % grid, Math.floor(focus / grid)];
    const to: Record<string, number | undefined> = {
      ArrowLeft: x > 0 ? focus - 1 : undefined,
      ArrowRight: x < grid - 1 ? focus + 1 : undefined,
      ArrowUp: y > 0 ? focus - grid : undefined,
      ArrowDown: y < grid - 1 ? focus + grid : undefined,
      Home: y * grid,
      End: y * grid + grid - 1,
    };
    if (event.key === 'Enter' || event.key === ' ') onPick(focus);
    else if (event.key in to) go(to[event.key] ?? focus);
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  const rows = Array.from({ length: grid }, (_, y) => y);
  return (
    <div
      ref={root}
      class="patches"
      role="grid"
      aria-label={label}
      aria-multiselectable="true"
      style={{ '--grid': grid }}
      onKeyDown={onKeyDown}
    >
      {rows.map((y) => (
        <div role="row" key={y}>
          {rows.map((x) => {
            const patch = y * grid + x;
            const { name, look = '', selected = false } = cell(patch);
            return (
              <div
                key={x}
                role="gridcell"
                data-patch={patch}
                class={look}
                tabIndex={patch === focus ? 0 : -1}
                aria-selected={selected}
                aria-label={`${placeOf(patch, grid)}: ${name}`}
                onFocus={() => {
                  setFocus(patch);
                  hovered.value = patch;
                }}
                onBlur={() => (hovered.value = undefined)}
              />
            );
          })}
        </div>
      ))}
    </div>
  );
}

/** The numbers of a chart, for who would rather read. */
export function TableView(props: { caption: string; head: string[]; rows: (string | number)[][] }) {
  return (
    <details class="table">
      <summary>as a table: {props.caption}</summary>
      <div class="scroll" tabIndex={0} role="region" aria-label={props.caption}>
        <table>
          <caption>{props.caption}</caption>
          <thead>
            <tr>
              {props.head.map((name) => (
                <th scope="col">{name}</th>
              ))}
            </tr>
          </thead>
          <tbody>
            {props.rows.map(([first, ...rest]) => (
              <tr>
                <th scope="row">{first}</th>
                {rest.map((value) => (
                  <td>{value}</td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </details>
  );
}

/** A native slider with its value beside it. */
export function Slider(props: {
  label: string;
  value: number;
  min: number;
  max: number;
  tell?: string;
  onChange: (value: number) => void;
}) {
  const { label, value, min, max, tell } = props;
  return (
    <label class="slider">
      <span>
        {label} <output>{tell ?? value}</output>
      </span>
      <input
        type="range"
        min={min}
        max={max}
        value={value}
        aria-valuetext={tell}
        onInput={(event) => props.onChange(Number(event.currentTarget.value))}
      />
    </label>
  );
}

/** U, wherever it is set. */
export const setBudget = (U: number): void => change({ U: Math.min(facts.patches, Math.max(1, U)) });
