/** The scene: its picture with the patches on it, and what can be done to its objects. */
import { useRef } from 'preact/hooks';
import { boxAt, cornersFor, type Corner, type Look } from '../../world/place.ts';
import {
  colourNames,
  grid as step,
  isHeldOut,
  letters,
  mostShapes,
  shapes,
  side,
  sizeNames,
  type SceneObject,
} from '../../world/things.ts';
import {
  cachedStates,
  change,
  hovered,
  facts,
  lit,
  photo,
  shown,
  showCached,
  state,
  told,
} from '../store.ts';
import { pin } from '../runner.ts';
import { openPhoto } from './photo.ts';
import { Panel, PatchGrid, patchUnder, short } from './parts.tsx';

const nameOf = ({ kind, letter, colour, size }: SceneObject): string =>
  letter ? `${colour} letter ${letter}` : `${size} ${colour} ${kind}`;

/** The corner nearest to a point where an object may stand beside the others. */
function nearestCorner(look: Look, others: readonly SceneObject[], [x, y]: Corner): Corner | undefined {
  const away = ([cx, cy]: Corner) => (cx - x) ** 2 + (cy - y) ** 2;
  return cornersFor(look, others).sort((a, b) => away(a) - away(b))[0];
}

const others = (i: number) => state.value.objects.filter((_, j) => j !== i);
const replace = (i: number, object: SceneObject) =>
  change({ objects: state.value.objects.map((old, j) => (j === i ? object : old)) });

/** Moves an object as near to a corner as the world's rules allow. */
function move(i: number, wish: Corner): void {
  const { box, ...look } = state.value.objects[i];
  const corner = nearestCorner(look, others(i), wish);
  if (corner && (corner[0] !== box[0] || corner[1] !== box[1])) {
    replace(i, { ...look, box: boxAt(look, corner) });
  }
}

/** Gives an object another look; where it does not fit any more it moves. */
function restyle(i: number, look: Look): void {
  const { box } = state.value.objects[i];
  const corner = nearestCorner(look, others(i), [box[0], box[1]]);
  if (corner) replace(i, { ...look, box: boxAt(look, corner) });
}

function add(kind: 'shape' | 'letter'): void {
  const { objects } = state.value;
  const taken = objects.map(({ colour }) => colour);
  const colour = colourNames.find((name) => !taken.includes(name))!;
  const look: Look =
    kind === 'letter'
      ? { kind, letter: 'k', colour, size: 'large' }
      : { kind: 'circle', colour, size: 'large' };
  const corner = nearestCorner(look, objects, [side / 2, side / 2]);
  if (corner) change({ objects: [...objects, { ...look, box: boxAt(look, corner) }] });
}

/** The picture, its patches, and the objects in the visitor's hand. */
export function SceneView() {
  const held = useRef<{ i: number; dx: number; dy: number } | undefined>(undefined);
  const root = useRef<HTMLDivElement>(null);
  const kept = told.value?.stops.at(-1)?.kept ?? [];
  const isKept = new Set(kept);
  const scores = told.value?.scores;
  const at = (event: PointerEvent): Corner => {
    const box = root.current!.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * side, ((event.clientY - box.top) / box.height) * side];
  };
  const objectAt = ([x, y]: Corner) =>
    photo.value
      ? -1
      : state.value.objects.findIndex(({ box: [x0, y0, x1, y1] }) => x >= x0 && x < x1 && y >= y0 && y < y1);
  return (
    <div
      ref={root}
      class="scene"
      onPointerDown={(event) => {
        const point = at(event);
        const i = objectAt(point);
        if (i < 0) return pin(patchUnder(event, root.current!));
        const [x, y] = state.value.objects[i].box;
        held.current = { i, dx: point[0] - x, dy: point[1] - y };
        root.current!.setPointerCapture(event.pointerId);
        event.preventDefault();
      }}
      onPointerMove={(event) => {
        hovered.value = patchUnder(event, root.current!);
        if (!held.current) return;
        const [x, y] = at(event);
        const { i, dx, dy } = held.current;
        move(i, [x - dx, y - dy]);
      }}
      onPointerUp={() => (held.current = undefined)}
      onPointerCancel={() => (held.current = undefined)}
      onPointerLeave={() => (hovered.value = undefined)}
      style={{ cursor: 'default' }}
    >
      <Panel
        picture={shown.value}
        grid={facts.grid}
        kept={kept}
        lit={lit.value}
        side={320}
        label="the picture, the patches that VTC-CLS drops darkened"
      />
      <PatchGrid
        label="patches of the picture"
        onPick={pin}
        cell={(patch) => ({
          name: `${isKept.has(patch) ? 'kept' : 'dropped'}${scores ? `, score ${short(scores[patch])}` : ''}`,
          selected: state.value.pinned === patch,
        })}
      />
    </div>
  );
}

/** What stands in the scene, each object with its controls. */
export function SceneControls() {
  const { objects } = state.value;
  const shapesThere = objects.filter(({ kind }) => kind !== 'letter').length;
  return (
    <div class="controls">
      <p class="row">
        {cachedStates.map(({ title }, i) => (
          <button type="button" onClick={() => showCached(i)}>
            {title}
          </button>
        ))}
        <label class="button">
          a photograph of yours …
          <input type="file" accept="image/*" onChange={(event) => void openPhoto(event.currentTarget)} />
        </label>
        {photo.value && (
          <button type="button" onClick={() => (photo.value = undefined)}>
            back to the scene
          </button>
        )}
      </p>
      {photo.value && (
        <p class="note">
          A photograph is outside of what this model knows: it was taught shapes and letters on grey. Where
          [CLS] looks is real; what is answered is not to be believed.
        </p>
      )}
      {!photo.value && (
        <ul class="objects">
          {objects.map((object, i) => (
            <ObjectRow key={i} i={i} object={object} last={shapesThere === 1 && object.kind !== 'letter'} />
          ))}
        </ul>
      )}
      {!photo.value && (
        <p class="row">
          <button type="button" disabled={shapesThere >= mostShapes} onClick={() => add('shape')}>
            add a shape
          </button>
          <button
            type="button"
            disabled={objects.some(({ kind }) => kind === 'letter')}
            onClick={() => add('letter')}
          >
            add a letter
          </button>
          <button type="button" onClick={() => change({ ground: Math.floor(Math.random() * 2 ** 32) })}>
            another ground
          </button>
        </p>
      )}
    </div>
  );
}

function ObjectRow({ i, object, last }: { i: number; object: SceneObject; last: boolean }) {
  const { box, ...look } = object;
  const name = nameOf(object);
  const arrows: Record<string, Corner> = {
    ArrowLeft: [-step, 0],
    ArrowRight: [step, 0],
    ArrowUp: [0, -step],
    ArrowDown: [0, step],
  };
  return (
    <li>
      <button
        type="button"
        class="handle"
        aria-label={`move the ${name} with the arrow keys; it is at ${box[0]}, ${box[1]}`}
        onKeyDown={(event) => {
          const by = arrows[event.key];
          if (!by) return;
          event.preventDefault();
          // Past what stands in the way: as far as it takes to come to another place.
          for (const far of [1, 2, 3, 4]) {
            const before = state.value.objects[i].box;
            move(i, [before[0] + far * by[0], before[1] + far * by[1]]);
            if (state.value.objects[i].box !== before) break;
          }
        }}
      >
        ✥
      </button>
      <Choice
        label={`colour of the ${name}`}
        value={look.colour}
        options={colourNames}
        onChange={(colour) => restyle(i, { ...look, colour })}
      />
      {look.kind === 'letter' ? (
        <Choice
          label={`which letter the ${name} is`}
          value={look.letter!}
          options={letters}
          onChange={(letter) => restyle(i, { ...look, letter })}
        />
      ) : (
        <Choice
          label={`shape of the ${name}`}
          value={look.kind}
          options={shapes}
          onChange={(kind) => restyle(i, { ...look, kind })}
        />
      )}
      {look.kind !== 'letter' && (
        <Choice
          label={`size of the ${name}`}
          value={look.size}
          options={sizeNames}
          onChange={(size) => restyle(i, { ...look, size })}
        />
      )}
      <button
        type="button"
        disabled={last}
        aria-label={`remove the ${name}`}
        onClick={() => change({ objects: others(i) })}
      >
        ✕
      </button>
      {isHeldOut(object) && (
        <span class="note">the model never saw a {`${look.colour} ${look.kind}`} in training</span>
      )}
    </li>
  );
}

function Choice<T extends string>(props: {
  label: string;
  value: T;
  options: readonly T[];
  onChange: (value: T) => void;
}) {
  return (
    <select
      aria-label={props.label}
      value={props.value}
      onChange={(event) => props.onChange(event.currentTarget.value as T)}
    >
      {props.options.map((option) => (
        <option value={option} selected={option === props.value}>
          {option}
        </option>
      ))}
    </select>
  );
}
