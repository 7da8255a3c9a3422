/** Where a folder keeps its chat template, and what the template may name: by transformers' rules. */
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { UserError } from '../errors.ts';
import { decodeUtf8, readWhole, reasonOf, refusePointer } from '../files.ts';
import { isObject, readJson, type JsonObject } from '../json.ts';

export interface TemplateSource {
  source: string;
  /** Where it stands. */
  file: string;
}

const absent = new Set(['ENOENT', 'ENOTDIR']);

/**
 * Finds a folder's chat template in the order of transformers' `LlavaProcessor` (`processing_utils.py`): in
 * `processor_config.json`, in `chat_template.json`, `chat_template.jinja`, `additional_chat_templates/default.jinja`,
 * in `tokenizer_config.json`.
 * @throws UserError for one that cannot be read, and for named ones of which none is the default
 */
export async function findTemplate(dir: string): Promise<TemplateSource | undefined> {
  const inJson = async (name: string): Promise<TemplateSource | undefined> => {
    const file = path.join(dir, name);
    const json = await readJson(file);
    const source = json && chooseTemplate(json['chat_template'], file);
    return source ? { source, file } : undefined; // an empty one is none
  };
  await refuseConflict(dir);
  return (
    (await inJson('processor_config.json')) ??
    (await inJson('chat_template.json')) ??
    (await findJinja(dir)) ??
    (await inJson('tokenizer_config.json'))
  );
}

/** transformers loads neither of these two. */
async function refuseConflict(dir: string): Promise<void> {
  const file = path.join(dir, 'chat_template.json');
  const legacy = await readJson(file);
  if (legacy && !('chat_template' in legacy)) throw new UserError(`${file}: chat_template is missing`);
  const { folder, names } = await listTemplates(dir);
  if (legacy && names.length > 0)
    throw new UserError(`${dir} has both ${path.basename(file)} and templates in ${folder}: keep one`);
}

async function listTemplates(dir: string): Promise<{ folder: string; names: string[] }> {
  const folder = path.join(dir, 'additional_chat_templates');
  const files = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (absent.has(error.code ?? '')) return [];
    throw new UserError(`cannot read ${folder}: ${reasonOf(error)}`);
  });
  const names = files.filter((name) => name.endsWith('.jinja')).map((name) => path.basename(name, '.jinja'));
  return { folder, names };
}

async function findJinja(dir: string): Promise<TemplateSource | undefined> {
  const file = path.join(dir, 'chat_template.jinja');
  const source = await readText(file);
  if (source) return { source, file };
  const { folder, names } = await listTemplates(dir);
  if (names.length === 0) return undefined;
  if (!names.includes('default')) throw noDefault(folder, names);
  const chosen = path.join(folder, 'default.jinja');
  return { source: (await readText(chosen)) ?? '', file: chosen };
}

/**
 * Reads a template file that the user names.
 * @throws UserError also when there is none
 */
export async function readTemplateFile(file: string): Promise<TemplateSource> {
  const source = await readText(file);
  if (source === undefined) throw new UserError(`cannot read ${file}: there is no such file or folder`);
  return { source, file };
}

/** @returns undefined when there is no such file, and only then */
async function readText(file: string): Promise<string | undefined> {
  let bytes: Buffer;
  try {
    bytes = await readWhole(file);
  } catch (error) {
    if (absent.has((error as NodeJS.ErrnoException).code ?? '')) return undefined;
    throw new UserError(`cannot read ${file}: ${reasonOf(error)}`);
  }
  refusePointer(bytes, file);
  return decodeUtf8(bytes, file); // with a byte-order mark, if there is one, as Python reads it
}

/** One template, or the `default` of named ones: a list of `{name, template}`, or an object. */
function chooseTemplate(value: unknown, file: string): string | undefined {
  if (value === undefined || value === null) return undefined;
  if (typeof value === 'string') return value;
  const named = new Map(
    Array.isArray(value)
      ? value.map((one: unknown) => (isObject(one) ? [one['name'], one['template']] : [one, undefined]))
      : Object.entries(value),
  );
  const source: unknown = named.get('default');
  if (typeof source === 'string') return source;
  const names = [...named.keys()].filter((name) => typeof name === 'string');
  if (names.length > 0 && !named.has('default')) throw noDefault(`${file}: chat_template`, names);
  throw new UserError(`${file}: chat_template should be one template, or a list of named ones`);
}

const noDefault = (where: string, names: readonly string[]): UserError =>
  new UserError(
    `${where} has several chat templates and none is named default (${names.toSorted().join(', ')}): ` +
      'give one with --template',
  );

/** The names that transformers knows without being told. */
const standard = ['bos', 'eos', 'unk', 'sep', 'pad', 'cls', 'mask'].map((name) => `${name}_token`);

/**
 * The special tokens that a template may name: transformers' `special_tokens_map`, which holds the standard ones, every
 * other `*_token` of the tokenizer's config, and those of `extra_special_tokens` where that is an object.
 */
export async function readSpecialTokens(dir: string): Promise<Record<string, string>> {
  const config = (await readJson(path.join(dir, 'tokenizer_config.json'))) ?? {};
  const legacy = // read only where the config does not list its tokens
    config['added_tokens_decoder'] === undefined
      ? ((await readJson(path.join(dir, 'special_tokens_map.json'))) ?? {})
      : {};
  const all: JsonObject = { ...config, ...legacy };
  const named = Object.entries(all).filter(([name]) => name.endsWith('_token'));
  const extra = [config, legacy].flatMap((json) =>
    ['extra_special_tokens', 'model_specific_special_tokens'].map((key) => json[key]),
  );
  const entries = [...named, ...extra.filter(isObject).flatMap((tokens) => Object.entries(tokens))];
  return Object.fromEntries(
    entries.flatMap(([name, token]) => {
      const text = isObject(token) ? token['content'] : token;
      return typeof text === 'string' && (text !== '' || standard.includes(name)) ? [[name, text]] : [];
    }),
  );
}
