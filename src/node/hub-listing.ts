/** What a model on the hub is made of, and which of it is wanted. */
import { messageOf, UserError } from '../errors.ts';
import { nameOtherWeights } from '../io/other-formats.ts';
import { isCommit } from './hub-cache.ts';
import { askWhole, type Hub } from './hub-requests.ts';

/** A file of a model. */
export interface HubFile {
  path: string;
  size: number;
  /** In hexadecimal; also its name among the cache's blobs. */
  hash: string;
  /** SHA-256 of a large file; of one that lies in git itself, git's SHA-1. */
  algorithm: 'sha256' | 'git';
}

const weights = 'model.safetensors';
const index = 'model.safetensors.index.json';
const templates = 'additional_chat_templates';

// Weights in one file or in shards, JSON, templates, tokenizers. Not the same weights in other forms, nor their indices.
const wanted =
  /^(model\.safetensors|\w+-\d+-of-\d+\.safetensors|[^/]+\.(json|jinja)|tokenizer\.model|(vocab|merges)\.txt|additional_chat_templates\/[^/]+\.jinja)$/;
const unwanted = /^(consolidated|adapter_)|(?<!^model\.safetensors)\.index\.json$/;

/** More than any model has; the hub lists a thousand on a page. */
const most = { files: 10_000, pages: 100 };

/**
 * The commit that the model's revision is at, and its wanted files, the one that makes it a model last.
 * @throws UserError for a model that is not there, may not be read or has no weights that can be, and an answer that is none
 */
export async function listModel(hub: Hub): Promise<{ commit: string; files: HubFile[] }> {
  const { listFiles, modelInfo } = await import('@huggingface/hub'); // most commands need it not
  const { name, revision } = hub.model;
  let pages = 0;
  const fetch: typeof globalThis.fetch = (address, init) => {
    if (++pages > most.pages)
      throw new UserError(`${hub.endpoint} answers with a list of files that has no end`);
    return askWhole(hub, String(address as string), { ...(init?.headers as Record<string, string>) });
  };
  const asked = { hubUrl: hub.endpoint, fetch };
  try {
    const { sha } = await modelInfo({ ...asked, name, revision, additionalFields: ['sha'] });
    if (!isCommit(sha) || (isCommit(revision) && sha !== revision)) throw new Error('its commit is none');
    const repo = { type: 'model', name } as const;
    const entries: Entry[] = [];
    const list = async (path?: string) => {
      for await (const entry of listFiles({ ...asked, repo, revision: sha, path })) {
        if (entries.push(entry) > most.files) throw new Error(`it lists more than ${most.files} files`);
      }
    };
    await list();
    if (entries.some(({ type, path }) => type === 'directory' && path === templates)) await list(templates);
    return { commit: sha, files: chooseFiles(hub, entries) };
  } catch (error) {
    if (error instanceof UserError) throw error;
    throw new UserError(`${hub.endpoint} does not say what ${name} is made of: ${messageOf(error)}`);
  }
}

interface Entry {
  type?: unknown;
  path?: unknown;
  size?: unknown;
  oid?: unknown;
  lfs?: { oid?: unknown; size?: unknown };
}

function chooseFiles({ endpoint, model }: Hub, entries: readonly Entry[]): HubFile[] {
  const files = entries.filter(({ type }) => type === 'file').map(readEntry);
  const names = files.map(({ path }) => path);
  const single = names.includes(weights);
  const page = `${endpoint}/${model.name}`;
  if (!single && !names.includes(index)) {
    const other = nameOtherWeights(names);
    throw new UserError(`${page} has neither ${weights} nor ${index}${other ? `; ${other}` : ''}`);
  }
  if (!names.includes('config.json')) throw new UserError(`${page} has no config.json`);
  const chosen = files.filter(({ path }) => {
    const isOther = single && path !== weights && (path === index || path.endsWith('.safetensors'));
    return wanted.test(path) && !unwanted.test(path) && !isOther;
  });
  const last = single ? weights : index;
  return chosen.sort((a, b) => Number(a.path === last) - Number(b.path === last));
}

/** @throws Error for an entry that cannot be meant; a path that leaves the folder is one */
function readEntry({ path, size, oid, lfs }: Entry): HubFile {
  if (typeof path !== 'string' || /^$|^\/|\\|\0|(^|\/)\.{0,2}(\/|$)/.test(path)) {
    throw new Error(`it lists ${JSON.stringify(path)}, which is no file of a folder`);
  }
  const hash = lfs ? lfs.oid : oid;
  if (typeof hash !== 'string' || !(lfs ? /^[0-9a-f]{64}$/ : /^[0-9a-f]{40}$/).test(hash)) {
    throw new Error(`it gives ${path} the hash ${JSON.stringify(hash)}`);
  }
  const bytes = lfs?.size ?? size;
  if (typeof bytes !== 'number' || !Number.isSafeInteger(bytes) || bytes < 0) {
    throw new Error(`it gives ${path} the size ${JSON.stringify(bytes)}`);
  }
  return { path, size: bytes, hash, algorithm: lfs ? 'sha256' : 'git' };
}
