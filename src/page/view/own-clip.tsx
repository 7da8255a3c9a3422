/** A CLIP of the visitor's own, on a picture of theirs. Nothing leaves the machine. */
import { signal } from '@preact/signals';
import type { Picture } from '../../image/picture.ts';
import type { OwnClip, OwnLook } from '../engine/own-clip.ts';
import { lookOwn, openOwn } from '../runner.ts';
import { status, trouble } from '../store.ts';
import { readPicture } from './photo.ts';
import { Panel, Section, Slider } from './parts.tsx';

const own = signal<OwnClip['facts'] | undefined>();
const subject = signal<Picture | undefined>();
const seen = signal<OwnLook | undefined>();
const [K, share] = [signal(3), signal(25)];
const busy = signal(false);

async function whileBusy(work: () => Promise<void>): Promise<void> {
  busy.value = true;
  trouble.value = undefined;
  try {
    await work();
  } catch (error) {
    trouble.value = (error as Error).message;
  } finally {
    busy.value = false;
  }
}

async function look(): Promise<void> {
  if (own.value && subject.value) seen.value = (await lookOwn(subject.value, K.value)) ?? seen.value;
}

const openFiles = (input: HTMLInputElement) =>
  whileBusy(async () => {
    const files = [...(input.files ?? [])];
    input.value = '';
    if (files.length === 0) return;
    [own.value, seen.value] = [undefined, undefined];
    const named = files.map((file) => [
      file.name.endsWith('.safetensors') ? 'model.safetensors' : file.name,
      file,
    ]);
    own.value = await openOwn(Object.fromEntries(named) as Record<string, Blob>);
    if (own.value) K.value = Math.min(3, own.value.layers);
    await look();
  });

const openSubject = (input: HTMLInputElement) =>
  whileBusy(async () => {
    const file = input.files?.[0];
    input.value = '';
    if (!file) return;
    subject.value = await readPicture(file, 2048);
    await look();
  });

export function OwnClipView() {
  const tower = own.value;
  const made = seen.value;
  const U = made && Math.max(1, Math.round((share.value / 100) * made.order.length));
  return (
    <Section id="own" title="10 · Your own CLIP">
      <p>
        Bring a CLIP in Hugging Face’s form, such as <code>openai/clip-vit-base-patch32</code>: its{' '}
        <code>config.json</code>, its <code>model.safetensors</code> and, if it has one, its{' '}
        <code>preprocessor_config.json</code>. Only the vision part runs, here in this page; the files stay on
        your machine.
      </p>
      <p class="row">
        <label class="button">
          the CLIP’s files …
          <input
            type="file"
            multiple
            data-own="files"
            accept=".json,.safetensors"
            disabled={status.value.is !== 'ready'}
            onChange={(event) => void openFiles(event.currentTarget)}
          />
        </label>
        <label class="button">
          a picture …
          <input
            type="file"
            accept="image/*"
            data-own="picture"
            disabled={status.value.is !== 'ready'}
            onChange={(event) => void openSubject(event.currentTarget)}
          />
        </label>
        <span class="note" role="status">
          {busy.value
            ? 'working …'
            : tower
              ? `${tower.layers + 1} layers of ${tower.heads} heads, ${tower.grid} × ${tower.grid} patches of a picture of ${tower.side} pixels${subject.value ? '' : '; now a picture'}`
              : 'no CLIP yet'}
        </span>
      </p>
      {tower && made && U !== undefined && (
        <>
          <div class="row sliders">
            <Slider
              label="K, layers that vote"
              value={K.value}
              min={1}
              max={tower.layers}
              onChange={(value) => {
                K.value = value;
                void whileBusy(look);
              }}
            />
            <Slider
              label="patches that stay"
              value={share.value}
              min={1}
              max={100}
              tell={`${U} of ${made.order.length}`}
              onChange={(value) => (share.value = value)}
            />
          </div>
          <div class="row panels" data-own="panels">
            <figure>
              <Panel
                picture={made.shown}
                grid={made.grid}
                kept={made.order.slice(0, U)}
                side={240}
                label="your picture, what VTC-CLS would drop darkened"
              />
              <figcaption>what VTC-CLS keeps</figcaption>
            </figure>
            {made.cls.map((values, l) => (
              <figure key={l}>
                <Panel
                  picture={made.shown}
                  grid={made.grid}
                  values={values}
                  side={110}
                  label={`[CLS] in layer ${l}`}
                />
                <figcaption>layer {l}</figcaption>
              </figure>
            ))}
          </div>
        </>
      )}
    </Section>
  );
}
