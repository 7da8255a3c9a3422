/**
 * Hugging Face's cache of models, as its Python library lays it out:
 *
 *     HF_HUB_CACHE/models--ORG--NAME/
 *       refs/main                       the commit that the branch was at
 *       snapshots/COMMIT/config.json    a link to ../../blobs/HASH
 *       blobs/HASH                      a file's bytes, under their hash; HASH….incomplete is none
 */
import { existsSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import path from 'node:path';
import { messageOf, UserError } from '../errors.ts';
import { listWeights } from '../io/sharded.ts';
import { codeOf, readText } from './files.ts';
import { diskFolder } from './folder.ts';

/** A model of the hub: `org/name`, or `org/name@revision`. */
export interface HubModel {
  name: string;
  /** A branch, a tag or a commit. */
  revision: string;
}

const part = '[A-Za-z0-9_](?:[\\w.-]*\\w)?';
const namePattern = new RegExp(`^${part}/${part}$`);
const revisionPattern = /^\w[\w.+-]*(\/\w[\w.+-]*)*$/;

/** Both become names of folders. @returns undefined for what names no model of the hub */
export function parseModelName(text: string): HubModel | undefined {
  const [name, revision = 'main'] = text.split(/@(.*)/s, 2);
  const named = namePattern.test(name) && revisionPattern.test(revision);
  return named && !/\.\.|--|\.git$/.test(name) && !revision.includes('..') ? { name, revision } : undefined;
}

/** As on the command line. */
export const formatModel = ({ name, revision }: HubModel): string =>
  revision === 'main' ? name : `${name}@${revision}`;

/** Whether a revision is a commit, which never changes. */
export const isCommit = (revision: string): boolean => /^[0-9a-f]{40}$/.test(revision);

/** `$HF_HUB_CACHE`, else `$HF_HOME/hub`, else `~/.cache/huggingface/hub`; `$XDG_CACHE_HOME` stands for `~/.cache`. */
export function hubCache(env: NodeJS.ProcessEnv = process.env): string {
  const { HF_HUB_CACHE: cache, HF_HOME: home, XDG_CACHE_HOME: xdg } = env;
  if (cache) return expandHome(cache);
  return path.join(expandHome(home || path.join(xdg || '~/.cache', 'huggingface')), 'hub');
}

const expandHome = (folder: string): string => path.resolve(folder.replace(/^~(?=\/|$)/, homedir()));

/** Where the cache has a model, or would. */
export const modelFolder = ({ name }: HubModel, env?: NodeJS.ProcessEnv): string =>
  path.join(hubCache(env), `models--${name.replace('/', '--')}`);

/**
 * A model's folder: the one that is named, or else the snapshot of `org/name` in Hugging Face's cache.
 * @returns what is no model's name as it is
 * @throws UserError where the cache has no such model, or not all of it
 */
export async function locateModel(given: string, env?: NodeJS.ProcessEnv): Promise<string> {
  const model = parseModelName(given);
  if (!model || existsSync(given)) return given;
  const root = modelFolder(model, env);
  const commit = isCommit(model.revision) ? model.revision : await readRef(root, model.revision);
  const snapshot = commit === undefined ? undefined : path.join(root, 'snapshots', commit);
  const next = `vtc download ${formatModel(model)}`;
  if (snapshot === undefined || !existsSync(snapshot)) {
    const lacks = model.revision === 'main' ? 'no such model' : `no revision ${model.revision} of it`;
    throw new UserError(
      `${given} is no folder, and Hugging Face's cache has ${lacks} in ${root}: ${next} fetches it`,
    );
  }
  await checkWhole(snapshot).catch((error: unknown) => {
    throw new UserError(`the cache has ${given} in part only (${messageOf(error)}): ${next} completes it`);
  });
  return snapshot;
}

/** The commit that a branch or tag was at; undefined where that is not on record. */
async function readRef(root: string, revision: string): Promise<string | undefined> {
  const file = path.join(root, 'refs', revision);
  let commit: string;
  try {
    commit = (await readText(file)).trim();
  } catch (error) {
    if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR') return undefined;
    throw error;
  }
  if (isCommit(commit)) return commit;
  throw new UserError(`${file} holds ${JSON.stringify(commit.slice(0, 60))}, which is no commit`);
}

/**
 * A folder with a config and all its weights is a model; of one that was fetched in part some are missing.
 * @throws UserError naming what it lacks
 */
export async function checkWhole(folder: string): Promise<void> {
  for (const name of ['config.json', ...(await listWeights(diskFolder(folder)))]) {
    const found = await stat(path.join(folder, name)).catch(() => undefined); // a link may lead nowhere
    if (!found?.isFile()) throw new UserError(`${folder} lacks ${name}`);
  }
}
