/** The page: every view of one state. */
import { render } from 'preact';
import './page.css';
import { askMany, followState, inside, numTensors, start } from './runner.ts';
import * as store from './store.ts';
import { facts, followAddress, settled, state, status, trouble } from './store.ts';
import { AskView } from './view/ask.tsx';
import { BeatView } from './view/beat.tsx';
import { CostView } from './view/cost.tsx';
import { LookView } from './view/look.tsx';
import { OwnClipView } from './view/own-clip.tsx';
import { savePng } from './view/png.ts';
import { ReadView } from './view/read.tsx';
import { SceneControls, SceneView } from './view/scene.tsx';
import { SheetView } from './view/sheet.tsx';
import { StepsView } from './view/steps.tsx';
import { FailView } from './view/fail.tsx';
import { VoteView } from './view/vote.tsx';
import { pageBackends, type PageBackend } from './backends.ts';

const asked = new URLSearchParams(location.search);
const isEmbedded = asked.has('embed');
const wanted = pageBackends.find((name) => name === asked.get('backend')) ?? 'wasm';

function Page() {
  return (
    <div
      class={isEmbedded ? 'page embedded' : 'page'}
      data-status={status.value.is}
      data-settled={settled.value}
    >
      {!isEmbedded && <Intro />}
      <StatusLine />
      <main>
        <div class="left">
          <section id="scene" aria-labelledby="scene-title">
            <h2 id="scene-title">1 · Picture and question</h2>
            <SceneView />
            <p class="lead">
              The vision encoder adds one token that stands for no patch, <b>[CLS]</b>: a running summary of
              the whole picture. How much it draws on each patch, its <i>attention</i>, decides which stay
              (bright) and which are thrown away (dark). <b>[CLS] never reads the question</b>: change it, and
              the chosen patches stay. Drag the objects, and they move.
            </p>
            <AskView />
            {!isEmbedded && <SceneControls />}
          </section>
        </div>
        <div class="right">
          {!isEmbedded && <LookView />}
          <VoteView />
          {!isEmbedded && (
            <>
              <BeatView />
              <ReadView />
              <CostView />
              <FailView />
              <SheetView />
              <StepsView />
              <OwnClipView />
            </>
          )}
        </div>
      </main>
    </div>
  );
}

function Intro() {
  return (
    <header>
      <h1>How visual token pruning works</h1>
      <p>
        A language model that sees is fed a picture as a row of <b>tokens</b>, one for each patch of it, and
        pays for every one: in time, and in memory. Most patches show nothing that matters. The part that
        looks at the picture first, the vision encoder, has already found out which are worth a look:{' '}
        <b>VTC-CLS</b> keeps those and throws the others away, and no model is trained for it. Everything on
        this page is computed by a real model that runs in it: {facts.patches} patches,{' '}
        {facts.visionLayers + 1} layers that look, {facts.decoderLayers} that read. It is small and knows
        shapes and letters only; the method is the same as for large ones. What is only calculated, or was
        measured elsewhere, says so.
      </p>
      <p class="row">
        <button type="button" onClick={() => void navigator.clipboard?.writeText(location.href)}>
          copy a link to what you see
        </button>
        <button type="button" onClick={savePng}>
          save it as a PNG
        </button>
        <label>
          computed by{' '}
          <select
            value={status.value.is === 'ready' ? status.value.backend : wanted}
            onChange={(event) => void start(event.currentTarget.value as PageBackend)}
          >
            {pageBackends.slice(0, inside ? 1 : undefined).map((name) => (
              <option value={name}>{name}</option>
            ))}
          </select>
        </label>
      </p>
    </header>
  );
}

/** How far the model is, and what went wrong. */
function StatusLine() {
  const now = status.value;
  return (
    <div class="status" role="status">
      {now.is === 'loading' && (
        <p>
          The model is loading: {Math.round(100 * now.share)} %. What you see meanwhile it computed before.
          <progress value={now.share} max={1} aria-label="loading the model" />
        </p>
      )}
      {now.is === 'failed' && (
        <p class="warn" data-failed>
          The model does not run: {now.why}. The scenes by name still show what it computed before.{' '}
          <button type="button" onClick={() => void start('wasm')}>
            start it again
          </button>
        </p>
      )}
      {trouble.value !== undefined && (
        <p class="warn" data-trouble>
          {trouble.value}
        </p>
      )}
      {state.value.pinned !== undefined && (
        <p class="pinned">A patch is pinned: it lights up in every view.</p>
      )}
    </div>
  );
}

render(<Page />, document.getElementById('page')!.appendChild(document.createElement('div')));
document.querySelector('#page > p')?.remove();
/** For the console, and for tests: what the page holds. */
const forConsole = { ...store, askMany, numTensors };
export type PageConsole = typeof forConsole;
Object.assign(globalThis, { vtcPage: forConsole });

followAddress();
followState();
void start(wanted);
