/** A CLIP of the visitor's own, vision part only: where its [CLS] looks in a photograph, and what VTC-CLS would keep. */
import { loadModel, readCheckedConfig } from '../../checkpoint/load.ts';
import { ensembles } from '../../compress/ensemble.ts';
import { descending } from '../../compress/host.ts';
import { scoreByCls } from '../../compress/score.ts';
import { UserError } from '../../errors.ts';
import type { Folder } from '../../folder.ts';
import type { Picture } from '../../image/picture.ts';
import { readPreprocessConfig } from '../../image/preprocess.ts';
import { showPixels } from '../../image/show.ts';
import { takePicture } from '../../inputs.ts';
import { scope } from '../../tensor/scope.ts';
import { runClipVision } from '../../vision/clip.ts';
import { gridSide } from '../../vision/config.ts';

/** What a tower saw. */
export interface OwnLook {
  grid: number;
  /** The picture as it was shown. */
  shown: Picture;
  /** [CLS] to patches, mean over heads: [layers][P], up to the layer whose output LLaVA-1.5 would select, the last but one. */
  cls: number[][];
  /** Of the sum of the last K: patches, the best first. */
  order: number[];
}

/** A tower that was loaded. */
export interface OwnClip {
  facts: { layers: number; heads: number; grid: number; side: number };
  look(picture: Picture, K: number): Promise<OwnLook>;
  dispose(): void;
}

/** @throws UserError for files that hold no CLIP, or one whose numbers do not fit */
export async function openOwnClip(folder: Folder): Promise<OwnClip> {
  const architecture = await readCheckedConfig(folder);
  if (architecture.kind === 'decoder')
    throw new UserError(`${folder.name} is a decoder: it sees no pictures`);
  const model = await loadModel(folder);
  const { vision } = model;
  if (!vision) throw new UserError(`${folder.name} holds no vision tower`);
  const { config } = vision;
  const preprocessing = await readPreprocessConfig(folder, config.image_size);
  const layers = Math.max(1, config.num_hidden_layers - 1);
  return {
    facts: {
      layers,
      heads: config.num_attention_heads,
      grid: gridSide(config),
      side: config.image_size,
    },
    look: async (picture, K) => {
      using own = scope();
      const { pixels, values } = takePicture(picture, preprocessing, config.image_size);
      own(pixels);
      const { clsAttention } = own(
        runClipVision(vision, pixels, { clsAttention: [...Array(layers).keys()] }),
      );
      const rows = own([...clsAttention.values()].map(scoreByCls)); // layers of [1, P]
      const sum = own(ensembles.sum(rows.slice(-K)));
      const cls = await Promise.all(rows.map(async (row) => [...(await row.data())]));
      return {
        grid: gridSide(config),
        shown: showPixels(values, config.image_size, preprocessing),
        cls,
        order: descending((await sum.data()) as Float32Array),
      };
    },
    dispose: () => model.dispose(),
  };
}
