/** The vote of the last K layers, and the cut. */
import { useRef } from 'preact/hooks';
import { scaleLinear, type ScaleLinear } from 'd3-scale';
import { line } from 'd3-shape';
import { interpolateCividis } from 'd3-scale-chromatic';
import { change, curves, facts, hovered, lit, maps, state, told, type Curve } from '../store.ts';
import { pin } from '../runner.ts';
import { chanceOf, wantedWord } from './words.ts';
import { Section, Slider, TableView, percent, placeOf, setBudget, short } from './parts.tsx';

/** The votes of each of the last K layers, [K][P], and the patches by their sum, the best first. */
function countVotes() {
  const made = maps.value;
  const order = told.value?.order;
  if (!made || !order) return undefined;
  const { K } = state.value;
  const votes = made.cls
    .slice(-K)
    .map((heads) => heads[0].map((_, p) => heads.reduce((sum, row) => sum + row[p], 0) / heads.length));
  const sums = Float32Array.from(votes[0], (_, p) => votes.reduce((sum, layer) => sum + layer[p], 0));
  return { votes, sums, order };
}

export const layerColour = (i: number, K: number): string =>
  interpolateCividis(K === 1 ? 0.5 : 0.15 + (0.75 * i) / (K - 1));

export function VoteView() {
  const counted = countVotes();
  const { K, U } = state.value;
  const first = facts.visionLayers - K;
  return (
    <Section id="vote" title="3 · Vote and cut">
      <p>
        A patch’s score is [CLS]’s attention to it, the mean over a layer’s heads, added up over the framed{' '}
        {K === 1 ? 'layer' : 'layers'}. The {U} best stay; the other {facts.patches - U} are thrown away for
        good: the language model never sees them. Only a few patches score high. The rest of the {U} places go
        to the best of what is left, which is why bare ground is kept too. Drag the line.
      </p>
      <div class="row sliders">
        <Slider
          label="K, layers that vote"
          value={K}
          min={1}
          max={facts.visionLayers}
          onChange={(value) => change({ K: value })}
        />
        <Slider
          label="U, patches that stay"
          value={U}
          min={1}
          max={facts.patches}
          tell={`${U} of ${facts.patches}`}
          onChange={setBudget}
        />
      </div>
      {counted && <Bars {...counted} />}
      <p class="legend">
        {Array.from({ length: K }, (_, i) => (
          <span>
            <i style={{ background: layerColour(i, K) }} /> layer {first + i}
          </span>
        ))}
      </p>
      {counted && <Ticks order={counted.order} />}
      {counted && (
        <TableView
          caption="votes by patch, the best first"
          head={['patch', ...Array.from({ length: K }, (_, i) => `layer ${first + i}`), 'sum', 'stays']}
          rows={counted.order.map((p, rank) => [
            placeOf(p),
            ...counted.votes.map((layer) => short(layer[p])),
            short(counted.sums[p]),
            rank < U ? 'yes' : 'no',
          ])}
        />
      )}
      <CurveView />
    </Section>
  );
}

const [width, height, left] = [720, 190, 44];

/** Lines across a chart at round values. */
const Rules = ({ y, format }: { y: ScaleLinear<number, number>; format: (value: number) => string }) => (
  <>
    {y.ticks(4).map((tick) => (
      <g class="tick" transform={`translate(0 ${y(tick)})`}>
        <line x1={left} x2={width - 8} />
        <text x={left - 6} dy="0.32em" text-anchor="end">
          {format(tick)}
        </text>
      </g>
    ))}
  </>
);

/** Each patch a bar, stacked by layer, sorted; the line cuts. */
function Bars({ votes, sums, order }: { votes: number[][]; sums: Float32Array; order: number[] }) {
  const svg = useRef<SVGSVGElement>(null);
  const dragging = useRef(false);
  const { U, K } = state.value;
  const P = order.length;
  const x = scaleLinear([0, P], [left, width - 8]);
  const y = scaleLinear([0, sums[order[0]]], [height - 22, 10]);
  const bar = x(1) - x(0);
  const cutAt = (event: PointerEvent) => {
    const box = svg.current!.getBoundingClientRect();
    setBudget(Math.round(x.invert(((event.clientX - box.left) / box.width) * width)));
  };
  return (
    <svg
      ref={svg}
      class="chart bars"
      viewBox={`0 0 ${width} ${height}`}
      role="img"
      aria-label={`the votes for each patch, sorted; the line cuts after ${U}`}
      onPointerDown={(event) => {
        dragging.current = true;
        svg.current!.setPointerCapture(event.pointerId);
        cutAt(event);
      }}
      onPointerMove={(event) => dragging.current && cutAt(event)}
      onPointerUp={() => (dragging.current = false)}
      onPointerCancel={() => (dragging.current = false)}
    >
      <Rules y={y} format={String} />
      <text x={width - 8} y={20} text-anchor="end">
        score: shares of attention, added up over the layers
      </text>
      {order.map((p, rank) => {
        let sum = 0;
        return (
          <g
            key={p}
            class={`bar ${rank < U ? '' : 'dropped'} ${p === lit.value ? 'lit' : ''}`}
            onPointerEnter={() => (hovered.value = p)}
            onPointerLeave={() => (hovered.value = undefined)}
          >
            <rect class="reach" x={x(rank)} y={10} width={bar} height={height - 32} />
            {votes.map((layer, i) => {
              const top = y(sum + layer[p]);
              const rect = (
                <rect
                  x={x(rank) + 0.5}
                  y={top}
                  width={bar - 1}
                  height={Math.max(0, y(sum) - top)}
                  fill={layerColour(i, K)}
                />
              );
              sum += layer[p];
              return rect;
            })}
          </g>
        );
      })}
      <g class="cut" transform={`translate(${x(U)} 0)`}>
        <line y1={4} y2={height - 20} />
        <text y={height - 6} text-anchor="middle">
          U = {U}
        </text>
      </g>
    </svg>
  );
}

/** Who enters or leaves next, and what a step costs. */
function Ticks({ order }: { order: number[] }) {
  const { U } = state.value;
  const button = (patch: number) => (
    <button type="button" class="link" onClick={() => pin(patch)}>
      {placeOf(patch)}
    </button>
  );
  return (
    <p class="note" data-ticks>
      {U < order.length && <>With one more, the patch in {button(order[U])} enters. </>}
      With one less, the patch in {button(order[U - 1])} leaves.
    </p>
  );
}

/** How likely the wanted word is at each budget. */
function CurveView() {
  const wanted = wantedWord();
  const { U, rival } = state.value;
  const { ours, rival: other } = curves.value;
  if (!wanted) return null;
  const x = scaleLinear([0, facts.patches], [left, width - 8]);
  const y = scaleLinear([0, 1], [height - 22, 10]);
  const points = (curve: Curve) =>
    curve.map(({ U, logs }) => [U, chanceOf(logs, wanted.word)] as [number, number]);
  const draw = line<[number, number]>()
    .x(([u]) => x(u))
    .y(([, p]) => y(p));
  const [mine, theirs] = [points(ours), points(other)];
  const rows = mine.map(([u, p], i) => [u, percent(p, 1), theirs[i] ? percent(theirs[i][1], 1) : '…']);
  return (
    <div>
      <h3>
        How likely it is to say “{wanted.word}”{' '}
        {wanted.known ? '(the right answer)' : '(what it says of all patches)'}
      </h3>
      <svg
        class="chart curve"
        viewBox={`0 0 ${width} ${height}`}
        role="img"
        aria-label={`probability of ${wanted.word} by the number of patches that stay`}
      >
        <Rules y={y} format={percent} />
        {x.ticks(10).map((tick) => (
          <text class="tick" x={x(tick)} y={height - 6} text-anchor="middle">
            {tick}
          </text>
        ))}
        <path class="theirs" d={draw(theirs) ?? ''} />
        <path class="ours" d={draw(mine) ?? ''} />
        {mine.map(([u, p]) => (
          <circle class="ours" cx={x(u)} cy={y(p)} r={u === U ? 5 : 2.5} data-budget={u} data-p={p} />
        ))}
        <g class="cut" transform={`translate(${x(U)} 0)`}>
          <line y1={4} y2={height - 20} />
        </g>
      </svg>
      <p class="legend">
        <span>
          <i class="ours" /> VTC-CLS
        </span>
        <span>
          <i class="theirs" /> {rival}, dashed
        </span>
      </p>
      <TableView
        caption={`probability of “${wanted.word}” by budget`}
        head={['U', 'VTC-CLS', rival]}
        rows={rows}
      />
    </div>
  );
}
