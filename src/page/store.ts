/** What the page holds: the visitor's state, and what the model made of it. */
import { computed, effect, signal } from '@preact/signals';
import cache from 'made:cache';
import type { Picture } from '../image/picture.ts';
import { drawWorld } from '../world/draw.ts';
import { trueAnswer } from '../world/true-answer.ts';
import type { Cell } from './engine/cell.ts';
import type { Refusal, Told } from './engine/engine.ts';
import type { Inside } from './engine/inside.ts';
import type { Maps } from './engine/maps.ts';
import { decodeState, encodeState } from './state/address.ts';
import { sceneOf, type PageState } from './state/state.ts';

export const { facts, states: cachedStates } = cache;

const readAddress = (): PageState =>
  decodeState(
    location.hash.slice(1),
    facts.methods.map(({ name }) => name),
  );

/** The visitor's; a link holds it. */
export const state = signal<PageState>(readAddress());
export const change = (part: Partial<PageState>): void => {
  state.value = { ...state.value, ...part };
};
/** A part of the state, which changes when it changes and not otherwise. */
export const part = <Name extends keyof PageState>(name: Name) => computed(() => state.value[name]);

/** A photograph in place of the scene; a link does not hold it. */
export const photo = signal<Picture | undefined>();
/** The patch under the pointer or the focus. */
export const hovered = signal<number | undefined>();
/** The patch that lights up everywhere. */
export const lit = computed(() => hovered.value ?? state.value.pinned);

const objects = part('objects');
const ground = part('ground');
const question = part('question');
/** The picture as it is given to the model. */
export const picture = computed(
  () => photo.value ?? drawWorld(sceneOf({ objects: objects.value, ground: ground.value })),
);
/** What is right, or why nobody can say. */
export const truth = computed(() =>
  photo.value
    ? { none: 'this is a photograph: what is right here the page cannot know' }
    : trueAnswer(objects.value, question.value),
);

const known = cachedStates.find((cached) => isSame(cached.state, state.value));

/** The picture as the model saw it; another than {@link picture} only of photographs. */
export const shown = signal<Picture>(picture.value);
export const maps = signal<Maps | undefined>(known?.maps);
/** Of VTC-CLS, of the uncut model, of the rival, and of what the visitor has painted. */
export const told = signal<Told | undefined>(known?.told);
export const uncut = signal<Told | undefined>(known?.uncut);
export const rivalTold = signal<Told | Refusal | undefined>();
export const paintedTold = signal<Told | Refusal | undefined>();
export const isRefused = (one: Told | Refusal | undefined): one is Refusal =>
  one !== undefined && 'refused' in one;
/** What was told, where it was not refused. */
export const answered = (one: Told | Refusal | undefined): Told | undefined =>
  isRefused(one) ? undefined : one;
/** For budgets the log-probabilities of the answer's first word. */
export type Curve = { U: number; logs: number[] }[];
export const curves = signal<{ ours: Curve; rival: Curve }>({ ours: [], rival: [] });
/** By method. */
export const sheet = signal<ReadonlyMap<string, Told | Refusal>>(new Map());
export const insides = signal<{ cut?: Inside; uncut?: Inside }>({});
export const cell = signal<Cell | undefined>();
export const unknown = signal<string[]>([]);
/** Of the last look, milliseconds. */
export const lookTime = signal<number | undefined>();

/** Whether CLIP’s text tower is there, for methods that read the question. */
export const hasClip = signal(false);
/** Medians of choosing, reading and answering, milliseconds: measured in turns when all else is done. */
export const times = signal<{ cut: number; uncut: number } | undefined>();

/** How far the model is: `loading` from 0 to 1. */
export type Status =
  { is: 'loading'; share: number } | { is: 'ready'; backend: string } | { is: 'failed'; why: string };
export const status = signal<Status>({ is: 'loading', share: 0 });
/** Whether everything on the page is of the present state. */
export const settled = signal(false);
/** What went wrong last, in a sentence; the page goes on. */
export const trouble = signal<string | undefined>();

/** Whether two states ask the same of the model. */
export function isSame(a: PageState, b: PageState): boolean {
  const asked = ({ objects, ground, question, K, U }: PageState) =>
    JSON.stringify([objects, ground, question, K, U]);
  return asked(a) === asked(b);
}

/** Shows another of the cached states, with its numbers: also where no model runs. */
export function showCached(index: number): void {
  const { state: other, maps: itsMaps, told: itsTold, uncut: itsUncut } = cachedStates[index];
  photo.value = undefined;
  state.value = { ...state.value, ...other };
  if (status.value.is === 'ready') return;
  [maps.value, told.value, uncut.value, shown.value] = [itsMaps, itsTold, itsUncut, picture.value];
}

let writing: ReturnType<typeof setTimeout> | undefined;
/** Keeps the address in step, and follows it where the visitor changes it. */
export function followAddress(): void {
  effect(() => {
    const text = encodeState(state.value);
    clearTimeout(writing);
    writing = setTimeout(() => history.replaceState(null, '', `#${text}`), 200);
  });
  addEventListener('hashchange', () => {
    state.value = readAddress();
  });
}
