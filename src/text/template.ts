/** Where a folder keeps its chat template, and what the template may name: by transformers' rules. */
import { decodeUtf8, refusePointer } from '../bytes.ts';
import { UserError } from '../errors.ts';
import { readJson, type Folder } from '../folder.ts';
import { isObject, type JsonObject } from '../json.ts';

/** A chat template in Jinja. */
export interface TemplateSource {
  source: string;
  /** Where it stands. */
  file: string;
}

/**
 * Finds a folder's chat template in the order of transformers' `LlavaProcessor` (`processing_utils.py`): in
 * `processor_config.json`, in `chat_template.json`, `chat_template.jinja`, `additional_chat_templates/default.jinja`,
 * in `tokenizer_config.json`.
 * @throws UserError for one that cannot be read, and for named ones of which none is the default
 */
export async function findTemplate(folder: Folder): Promise<TemplateSource | undefined> {
  const inJson = async (name: string): Promise<TemplateSource | undefined> => {
    const file = folder.place(name);
    const json = await readJson(folder, name);
    const source = json && chooseTemplate(json['chat_template'], file);
    return source ? { source, file } : undefined; // an empty one is none
  };
  await refuseConflict(folder);
  return (
    (await inJson('processor_config.json')) ??
    (await inJson('chat_template.json')) ??
    (await findJinja(folder)) ??
    (await inJson('tokenizer_config.json'))
  );
}

/** transformers loads neither of these two. */
async function refuseConflict(folder: Folder): Promise<void> {
  const name = 'chat_template.json';
  const legacy = await readJson(folder, name);
  if (legacy && !('chat_template' in legacy)) {
    throw new UserError(`${folder.place(name)}: chat_template is missing`);
  }
  if ((await listTemplates(folder)).length > 0 && legacy) {
    throw new UserError(
      `${folder.name} has both ${name} and templates in ${folder.place(several)}: keep one`,
    );
  }
}

const several = 'additional_chat_templates';
const ending = '.jinja';

/** The names of those in a folder of their own. */
async function listTemplates(folder: Folder): Promise<string[]> {
  const files = await folder.list(several);
  return files.filter((name) => name.endsWith(ending)).map((name) => name.slice(0, -ending.length));
}

async function findJinja(folder: Folder): Promise<TemplateSource | undefined> {
  const alone = await readTemplate(folder, 'chat_template.jinja');
  if (alone?.source) return alone;
  const names = await listTemplates(folder);
  if (names.length === 0) return undefined;
  if (!names.includes('default')) throw noDefault(folder.place(several), names);
  const chosen = `${several}/default${ending}`;
  return (await readTemplate(folder, chosen)) ?? { source: '', file: folder.place(chosen) };
}

/** @returns undefined where there is no such file */
async function readTemplate(folder: Folder, name: string): Promise<TemplateSource | undefined> {
  const bytes = await folder.read(name);
  return bytes && decodeTemplate(bytes, folder.place(name));
}

/** A template that is a file of its own. @throws UserError naming it */
export function decodeTemplate(bytes: Uint8Array, file: string): TemplateSource {
  refusePointer(bytes, file);
  return { source: decodeUtf8(bytes, file), file }; // with a byte-order mark, if there is one, as Python reads it
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
export async function readSpecialTokens(folder: Folder): Promise<Record<string, string>> {
  const config = (await readJson(folder, 'tokenizer_config.json')) ?? {};
  const legacy = // read only where the config does not list its tokens
    config['added_tokens_decoder'] === undefined
      ? ((await readJson(folder, 'special_tokens_map.json')) ?? {})
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
