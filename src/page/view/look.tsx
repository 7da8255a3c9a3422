/** Where [CLS] looks: a map for each layer and head. */
import { change, facts, lit, maps, shown, state, told } from '../store.ts';
import { lenses, type Lens } from '../state/state.ts';
import { pin } from '../runner.ts';
import { Panel, PatchGrid, Section, TableView, placeOf, short } from './parts.tsx';

const lensNames: Record<Lens, string> = {
  cls: 'what [CLS] gives to each patch',
  received: 'what each patch is given by all tokens together',
  norms: 'how large the numbers are that make up each patch’s token (sinks: section 7)',
};

const means = new WeakMap<object, number[]>();
/** The mean over heads; the same array for the same maps, so that nothing is drawn again for nothing. */
function mean(rows: readonly (readonly number[])[]): number[] {
  let made = means.get(rows);
  if (!made) {
    made = rows[0].map((_, p) => rows.reduce((sum, row) => sum + row[p], 0) / rows.length);
    means.set(rows, made);
  }
  return made;
}

/** The values of the map that is chosen, [P]. */
export function chosenMap(): number[] | undefined {
  const made = maps.value;
  if (!made) return undefined;
  const { layer, head, lens } = state.value;
  if (lens !== 'cls') return made[lens][layer];
  return head < 0 ? mean(made.cls[layer]) : made.cls[layer][head];
}

export function LookView() {
  const made = maps.value;
  const { layer, head, lens, K } = state.value;
  const kept = told.value?.stops.at(-1)?.kept ?? [];
  const layers = [...Array(facts.visionLayers).keys()];
  const heads = [-1, ...Array(facts.visionHeads).keys()];
  const chosen = chosenMap();
  const first = facts.visionLayers - K;
  const headName = (h: number) => (h < 0 ? 'mean' : `head ${h}`);
  return (
    <Section id="look" title="2 · Where [CLS] looks">
      <p>
        The vision encoder cuts the picture into {facts.grid} × {facts.grid} patches, makes one token of each
        and adds <b>[CLS]</b> (short for “class”, for which it was first made). Layer after layer each token
        gathers from the others what it can use: it shares 100 % of its attention out over all tokens, itself
        included, and does so several times over, in so many <i>heads</i>. Each map here is what [CLS] gave to
        the patches in one head of one layer; bright ones got the most.{' '}
        {K === 1 ? `Layer ${first} decides` : `Layers ${first} to ${facts.visionLayers - 1} decide`} (framed):
        the last {K} before the patches are handed over. Layer {facts.visionLayers} comes after that and is
        not run for VTC-CLS.
      </p>
      <fieldset class="row">
        <legend>Show</legend>
        {lenses.map((name) => (
          <label>
            <input type="radio" name="lens" checked={lens === name} onChange={() => change({ lens: name })} />
            {lensNames[name]}
          </label>
        ))}
      </fieldset>
      {made && chosen && (
        <div class="look">
          <div class="heads scroll" role="group" aria-label="maps by layer and head">
            {layers.map((l) => (
              <div class={`layer ${l >= facts.visionLayers - K ? 'votes' : ''}`} key={l}>
                <span class="name">layer {l}</span>
                {(lens === 'cls' ? heads : [-1]).map((h) => (
                  <button
                    type="button"
                    key={h}
                    aria-pressed={l === layer && (h === head || lens !== 'cls')}
                    aria-label={`layer ${l}, ${lens === 'cls' ? headName(h) : lensNames[lens]}`}
                    onClick={() => change({ layer: l, head: h })}
                  >
                    <Panel
                      picture={shown.value}
                      grid={facts.grid}
                      values={lens === 'cls' ? (h < 0 ? mean(made.cls[l]) : made.cls[l][h]) : made[lens][l]}
                      lit={lit.value}
                      side={64}
                      label=""
                    />
                    <span>{lens === 'cls' ? headName(h) : 'all heads'}</span>
                  </button>
                ))}
              </div>
            ))}
          </div>
          <div class="chosen">
            <h3>
              layer {layer}
              {lens === 'cls' ? `, ${head < 0 ? 'mean over heads' : `head ${head}`}` : ''}
            </h3>
            <div class="stacked">
              <Panel
                picture={shown.value}
                grid={facts.grid}
                values={chosen}
                outlined={kept}
                lit={lit.value}
                side={240}
                label={`${lensNames[lens]}; outlined are the patches that stay`}
              />
              <PatchGrid
                label={`${lensNames[lens]}, layer ${layer}`}
                onPick={pin}
                cell={(patch) => ({ name: short(chosen[patch]), selected: state.value.pinned === patch })}
              />
            </div>
            <p class="note">
              Dark blue is the least, yellow the most, on each map’s own scale; outlined: what stays.
            </p>
          </div>
        </div>
      )}
      {chosen && (
        <TableView
          caption={`${lensNames[lens]}, layer ${layer}, the ten largest`}
          head={['patch', 'value']}
          rows={[...chosen.keys()]
            .sort((a, b) => chosen[b] - chosen[a])
            .slice(0, 10)
            .map((p) => [placeOf(p), short(chosen[p])])}
        />
      )}
    </Section>
  );
}
