/** Every method on this picture and question. */
import { signal } from '@preact/signals';
import {
  change,
  facts,
  hasClip,
  isRefused,
  lit,
  rivalTold,
  sheet,
  shown,
  state,
  told,
  uncut,
} from '../store.ts';
import type { Stop, Told } from '../engine/engine.ts';
import { addClip } from '../runner.ts';
import { chanceOf, distance, topWords, wantedWord } from './words.ts';
import { Panel, Section, TableView, percent } from './parts.tsx';

const loadingClip = signal(false);

/** `decoder.matrix.02` → `before decoder layer 2` */
function placeName(place: string): string {
  const [, part, layer] = /^(vision|decoder)\.matrix\.(\d+)$/.exec(place) ?? [];
  if (part === 'decoder') return `before decoder layer ${Number(layer)}`;
  return part === 'vision' ? `in tower layer ${Number(layer)}` : 'before the decoder';
}

/** Places where something became of the patches; the last one where nothing did. */
function places(stops: readonly Stop[]): Stop[] {
  const changed = stops.filter(({ kept, made }, i) => {
    const before = i === 0 ? facts.patches : stops[i - 1].kept.length + stops[i - 1].made;
    return kept.length + made !== before;
  });
  return changed.length > 0 ? changed : stops.slice(-1);
}

export function SheetView() {
  const wanted = wantedWord();
  const all = sheet.value;
  const needsClip = !hasClip.value && facts.methods.some(({ readsQuestion }) => readsQuestion);
  return (
    <Section id="methods" title="8 · All methods">
      <p>
        The same picture and question under each method of the field that this project has, {state.value.U}{' '}
        tokens each where the method can have so many. Some choose patches before the decoder, as VTC-CLS
        does; some make one token of several; some act inside the encoder (“tower”) or between the decoder’s
        layers, and show what is left at each place. Pick one to hold VTC-CLS against: it is the rival in the
        curve, in the game and below.
      </p>
      {needsClip && (
        <p class="row">
          <button
            type="button"
            disabled={loadingClip.value}
            onClick={() => {
              loadingClip.value = true;
              void addClip().finally(() => (loadingClip.value = false));
            }}
          >
            {loadingClip.value ? 'loading …' : 'load CLIP’s text tower (1.7 MB)'}
          </button>
          <span class="note">for the methods that read the question before they choose</span>
        </p>
      )}
      <div class="sheet">
        {facts.methods.map(({ name, summary, paper, readsQuestion: reads }) => {
          const one = all.get(name);
          return (
            <article key={name} data-method={name} class={state.value.rival === name ? 'rival' : ''}>
              <h3>
                <button
                  type="button"
                  aria-pressed={state.value.rival === name}
                  title={`${summary}. ${paper}`}
                  onClick={() => change({ rival: name })}
                >
                  {name}
                </button>
              </h3>
              <p class="summary">{summary}</p>
              {one === undefined && <p class="note">…</p>}
              {one && isRefused(one) && (
                <p class="note">
                  {reads && !hasClip.value
                    ? 'It reads the question: load CLIP’s text tower above.'
                    : one.refused}
                </p>
              )}
              {one && !isRefused(one) && <Result one={one} name={name} word={wanted?.word} />}
            </article>
          );
        })}
      </div>
      <Difference />
      <TableView
        caption="all methods"
        head={['method', 'says', `P(${wanted?.word ?? '…'})`, 'KL, nats', 'tokens in the decoder’s layers']}
        rows={[...all].map(([name, one]) =>
          'refused' in one
            ? [name, 'not possible here', '', '', one.refused]
            : [
                name,
                topWords(one.logs, 1)[0].word,
                wanted ? percent(chanceOf(one.logs, wanted.word), 1) : '',
                uncut.value ? distance(uncut.value.logs, one.logs).toFixed(3) : '',
                one.layerTokens.join(', '),
              ],
        )}
      />
    </Section>
  );
}

function Result({ one, name, word }: { one: Told; name: string; word?: string }) {
  const last = one.stops.at(-1)!;
  const stops = places(one.stops);
  const answer = topWords(one.logs, 1)[0].word;
  return (
    <>
      <Panel
        picture={shown.value}
        grid={facts.grid}
        kept={last.kept}
        groups={last.made > 0 ? last.groups : undefined}
        lit={lit.value}
        side={110}
        label={`${name}: ${last.kept.length} patches kept${last.made > 0 ? `, ${last.made} tokens made of others` : ''}`}
      />
      <p>
        <b>{answer}</b> {word === undefined ? '' : answer === word ? '✓' : '✗'}{' '}
        {word !== undefined && (
          <span class="how">
            {word} {percent(chanceOf(one.logs, word))}
          </span>
        )}
      </p>
      {stops.length > 1 && (
        <div class="stops">
          {stops.map((stop) => (
            <figure key={stop.place}>
              <Panel
                picture={shown.value}
                grid={facts.grid}
                kept={stop.kept}
                groups={stop.made > 0 ? stop.groups : undefined}
                lit={lit.value}
                side={46}
                label={`${placeName(stop.place)}: ${stop.kept.length + stop.made} tokens`}
              />
              <figcaption>
                {placeName(stop.place)}: {stop.kept.length + stop.made}
              </figcaption>
            </figure>
          ))}
        </div>
      )}
      {stops.length <= 1 && last.made > 0 && <p class="note">{last.made} tokens made of several patches</p>}
    </>
  );
}

/** What VTC-CLS and the rival choose differently. */
function Difference() {
  const [ours, other] = [told.value, rivalTold.value];
  if (!ours || !other || isRefused(other)) return null;
  const mine = new Set(ours.stops.at(-1)!.kept);
  const theirs = new Set(other.stops.at(-1)!.kept);
  const both = [...mine].filter((p) => theirs.has(p));
  const onlyMine = [...mine].filter((p) => !theirs.has(p));
  const onlyTheirs = [...theirs].filter((p) => !mine.has(p));
  const { rival } = state.value;
  const panels: [string, number[]][] = [
    ['both keep', both],
    ['only VTC-CLS keeps', onlyMine],
    [`only ${rival} keeps`, onlyTheirs],
  ];
  return (
    <>
      <h3>VTC-CLS and {rival}</h3>
      <div class="row panels" data-difference>
        {panels.map(([name, kept]) => (
          <figure key={name}>
            <Panel
              picture={shown.value}
              grid={facts.grid}
              kept={kept}
              lit={lit.value}
              side={110}
              label={`${name} ${kept.length}`}
            />
            <figcaption>
              {name} {kept.length}
            </figcaption>
          </figure>
        ))}
      </div>
      <p>
        VTC-CLS says <b>{topWords(ours.logs, 1)[0].word}</b>, {rival} says{' '}
        <b>{topWords(other.logs, 1)[0].word}</b>
        {uncut.value && (
          <>
            ; from what the uncut model would say they are {distance(uncut.value.logs, ours.logs).toFixed(3)}{' '}
            and {distance(uncut.value.logs, other.logs).toFixed(3)} nats away
          </>
        )}
        .
      </p>
    </>
  );
}
