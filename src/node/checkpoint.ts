/** The core's readers of a checkpoint, for a folder on disk, named by its path; a stranger's, so within bounds. */
import * as architecture from '../checkpoint/architecture.ts';
import * as load from '../checkpoint/load.ts';
import { UserError } from '../errors.ts';
import * as preprocess from '../image/preprocess-config.ts';
import * as sharded from '../io/sharded.ts';
import * as prompt from '../text/prompt.ts';
import { decodeTemplate, type TemplateSource } from '../text/template.ts';
import * as tokenizer from '../text/tokenizer.ts';
import { codeOf, readWhole, reasonOf } from './files.ts';
import { diskFolder } from './folder.ts';
import { bounded } from './runner.ts';

/** {@link architecture.readArchitecture} */
export const readArchitecture = (dir: string): Promise<architecture.Architecture> =>
  architecture.readArchitecture(diskFolder(dir));

/** {@link load.readCheckedConfig} */
export const readCheckedConfig = (dir: string): Promise<architecture.Architecture> =>
  load.readCheckedConfig(diskFolder(dir));

/** {@link load.loadModel} */
export const loadModel = (
  dir: string,
  onProgress?: load.LoadProgress,
  options?: load.LoadOptions,
): Promise<load.Model> => load.loadModel(diskFolder(dir), onProgress, options);

/** {@link sharded.openWeights} */
export const openWeights = (dir: string): Promise<sharded.WeightFiles> =>
  sharded.openWeights(diskFolder(dir));

/** {@link preprocess.readPreprocessConfig} */
export const readPreprocessConfig = (
  dir: string,
  imageSize: number,
  pad = false,
): Promise<preprocess.PreprocessConfig> => preprocess.readPreprocessConfig(diskFolder(dir), imageSize, pad);

/** {@link tokenizer.readTokenizer} */
export const readTokenizer = (dir: string, bosToken: number | null): Promise<tokenizer.Tokenizer> =>
  tokenizer.readTokenizer(diskFolder(dir), bosToken, bounded);

/** {@link prompt.readPromptTemplate} @param template a Jinja file to take instead of the folder's */
export async function readPromptTemplate(
  dir: string,
  { template, image }: { template?: string; image?: string } = {},
): Promise<prompt.PromptTemplate> {
  const given = template === undefined ? undefined : await readTemplateFile(template);
  return prompt.readPromptTemplate(diskFolder(dir), { template: given, image }, bounded);
}

/**
 * Reads a template file that the user names.
 * @throws UserError also when there is none
 */
export async function readTemplateFile(file: string): Promise<TemplateSource> {
  const bytes = await readWhole(file).catch((error: unknown) => {
    const absent = ['ENOENT', 'ENOTDIR'].includes(codeOf(error) ?? '');
    const reason = absent ? 'there is no such file or folder' : reasonOf(error);
    throw new UserError(`cannot read ${file}: ${reason}`);
  });
  return decodeTemplate(bytes, file);
}
