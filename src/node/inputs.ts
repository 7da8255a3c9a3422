/** The core's `inputs.ts`, for files and folders named by their paths. */
import type { ClipConfig, LlavaConfig } from '../checkpoint/architecture.ts';
import * as inputs from '../inputs.ts';
import type { ClipTextConfig } from '../vision/text-config.ts';
import { readPreprocessConfig, readTemplateFile } from './checkpoint.ts';
import { decodeImage } from './decode.ts';
import { diskFolder } from './folder.ts';
import { bounded } from './runner.ts';

/**
 * Reads a picture file as a checkpoint's vision tower wants it. The caller disposes its pixels.
 * @param pad LLaVA's padding to a square, whatever the folder says
 */
export async function readPicture(
  file: string,
  dir: string,
  imageSize: number,
  pad = false,
): Promise<inputs.LoadedPicture> {
  const config = await readPreprocessConfig(dir, imageSize, pad);
  return inputs.takePicture(await decodeImage(file, config), config, imageSize);
}

/** How a question becomes the prompt, where the folder's own way is not wanted. */
export interface Wording {
  /** A CLIP's folder, whose text tower reads the question too. */
  clip?: string;
  /** A chat template's file, instead of the folder's. */
  template?: string;
  /** Words behind the model's own, of a system that adds some. */
  adds?: readonly string[];
  /** How many pictures the question is about; 1 where left out. */
  pictures?: number;
}

/** What is asked of a picture: a question that the template puts into words, or the words themselves. */
export interface Asked extends Wording {
  question?: string;
  /** The whole prompt, the image token where the picture goes. */
  prompt?: string;
}

const onDisk = ({ clip, template, adds, pictures }: Wording): inputs.Wording => ({
  adds,
  pictures,
  clip: clip === undefined ? undefined : diskFolder(clip),
  template: template === undefined ? undefined : () => readTemplateFile(template),
});

/** {@link inputs.readAsker} */
export const readAsker = (dir: string, config: LlavaConfig, wording: Wording = {}): Promise<inputs.Asker> =>
  inputs.readAsker(diskFolder(dir), config, onDisk(wording), bounded);

/** {@link inputs.readQuestion} */
export const readQuestion = (
  dir: string,
  config: LlavaConfig,
  asked: Asked | string,
): ReturnType<typeof inputs.readQuestion> => {
  const { question, prompt, ...wording } = typeof asked === 'string' ? { question: asked } : asked;
  return inputs.readQuestion(diskFolder(dir), config, { question, prompt, ...onDisk(wording) }, bounded);
};

/** {@link inputs.readClipConfig} */
export const readClipConfig = (dir: string): Promise<ClipConfig & { text: ClipTextConfig }> =>
  inputs.readClipConfig(diskFolder(dir));

/** {@link inputs.readWording} */
export const readWording = (dir: string, config: ClipTextConfig): ReturnType<typeof inputs.readWording> =>
  inputs.readWording(diskFolder(dir), config, bounded);
