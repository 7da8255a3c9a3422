/** The prompt as the decoder has it, where the answer looks, and what each layer would have said. */
import { useMemo } from 'preact/hooks';
import { facts, hovered, insides, lit, shown, told, uncut } from '../store.ts';
import { pin } from '../runner.ts';
import { toUrl } from './draw.ts';
import { distance, topWords } from './words.ts';
import { Panel, Section, TableView, percent, placeOf } from './parts.tsx';

const wordOf = (id: number): string => facts.vocabulary[id];

export function ReadView() {
  const { cut, uncut: whole } = insides.value;
  return (
    <Section id="read" title="5 · Read and answer">
      <p>
        What is left goes into the language model as part of one row of tokens, words and patches alike. It
        reads the row once, layer by layer, and the last token’s state becomes the answer. [CLS] itself is not
        among them: it has done its work.
      </p>
      {cut && <Prompt before={cut.before} tokens={cut.tokens} after={cut.after} />}
      {cut && (
        <>
          <h3>Where the answer looks back, layer by layer</h3>
          <div class="row panels">
            {cut.onPatches.map((values, l) => {
              const share = values.reduce((sum, x) => sum + x, 0);
              return (
                <figure key={l}>
                  <Panel
                    picture={shown.value}
                    grid={facts.grid}
                    values={values}
                    lit={lit.value}
                    side={110}
                    label={`decoder layer ${l}: ${percent(share)} of the attention on the picture`}
                  />
                  <figcaption>
                    layer {l}: {percent(share)} on the picture, the rest on the words
                  </figcaption>
                </figure>
              );
            })}
          </div>
        </>
      )}
      {cut && whole && (
        <>
          <h3>What each layer would have answered</h3>
          <table>
            <caption>
              The three likeliest words, if the language model (the decoder; its layers are not the encoder’s)
              ended after this layer: a “logit lens”
            </caption>
            <thead>
              <tr>
                <th scope="col">layer</th>
                <th scope="col">with pruning</th>
                <th scope="col">with all patches</th>
              </tr>
            </thead>
            <tbody>
              {cut.lens.map((logs, l) => (
                <tr>
                  <th scope="row">{l}</th>
                  <td>{spell(logs)}</td>
                  <td>{spell(whole.lens[l])}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </>
      )}
      <Five />
    </Section>
  );
}

const spell = (logs: readonly number[]): string =>
  topWords(logs, 3)
    .map(({ word, p }) => `${word} ${percent(p)}`)
    .join(', ');

/** The five likeliest answers with and without pruning, and how far apart the two are. */
function Five() {
  if (!told.value || !uncut.value) return null;
  const [cut, whole] = [topWords(told.value.logs), topWords(uncut.value.logs)];
  return (
    <>
      <h3>The five likeliest answers</h3>
      <div class="row five">
        {(
          [
            ['with pruning', cut],
            ['with all patches', whole],
          ] as const
        ).map(([name, words]) => (
          <div>
            <h4>{name}</h4>
            <ol>
              {words.map(({ word, p }) => (
                <li>
                  <span class="meter" style={{ '--share': p }} /> {word}{' '}
                  <span class="how">{percent(p, 1)}</span>
                </li>
              ))}
            </ol>
          </div>
        ))}
      </div>
      <p>
        Kullback–Leibler divergence between the two, how far pruning has changed what it would say:{' '}
        <b>{distance(uncut.value.logs, told.value.logs).toFixed(3)} nats</b> (0: not at all).
      </p>
      <TableView
        caption="the five likeliest answers"
        head={['rank', 'with pruning', 'with all patches']}
        rows={cut.map(({ word, p }, i) => [
          i + 1,
          `${word} ${percent(p, 1)}`,
          `${whole[i].word} ${percent(whole[i].p, 1)}`,
        ])}
      />
    </>
  );
}

/** The prompt as a row of tokens, the visual ones as their patches. */
function Prompt({ before, tokens, after }: { before: number[]; tokens: number[][]; after: number[] }) {
  const url = useMemo(() => toUrl(shown.value), [shown.value]);
  const g = facts.grid;
  const count = before.length + tokens.length + after.length;
  return (
    <>
      <h3>
        The prompt: {count} tokens, {tokens.length} of them patches
      </h3>
      <div class="prompt" role="list" aria-label="the prompt’s tokens">
        {before.map((id) => (
          <span role="listitem" class="word">
            {wordOf(id)}
          </span>
        ))}
        {tokens.map(([patch]) => (
          <span role="listitem" class={`patch ${patch === lit.value ? 'lit' : ''}`}>
            <button
              type="button"
              tabIndex={-1}
              aria-label={`patch in ${placeOf(patch)}`}
              style={{
                backgroundImage: `url(${url})`,
                backgroundSize: `${g * 100}% ${g * 100}%`,
                backgroundPosition: `${((patch % g) / (g - 1)) * 100}% ${(Math.floor(patch / g) / (g - 1)) * 100}%`,
              }}
              onPointerEnter={() => (hovered.value = patch)}
              onPointerLeave={() => (hovered.value = undefined)}
              onClick={() => pin(patch)}
            />
          </span>
        ))}
        {after.map((id) => (
          <span role="listitem" class="word">
            {wordOf(id)}
          </span>
        ))}
      </div>
    </>
  );
}
