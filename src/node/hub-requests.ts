/** Requests to the Hugging Face Hub: who asks, for how long one waits, what is tried again and what is refused. */
import { setTimeout as pause } from 'node:timers/promises';
import { messageOf, UserError } from '../errors.ts';
import type { HubModel } from './hub-cache.ts';

/** One model at one hub. */
export interface Hub {
  model: HubModel;
  /** `https://huggingface.co`, or a mirror. */
  endpoint: string;
  token?: string;
  /** A server that says nothing for so long is given up. */
  silentMs: number;
  /** Milliseconds before each further try. */
  pauses: readonly number[];
}

/** So many bytes make a try worth going on from: the tries are counted anew. */
const progress = 2 ** 20;
/** No list of a model's files is longer. */
const longestList = 2 ** 25;

/**
 * The hub that the environment names, as it does for Hugging Face's own programs: `HF_ENDPOINT`, `HF_TOKEN`,
 * `HF_HUB_DOWNLOAD_TIMEOUT` in seconds.
 * @throws UserError where it forbids to ask, with `HF_HUB_OFFLINE`, or one of them cannot be meant
 */
export function openHub(
  model: HubModel,
  env: NodeJS.ProcessEnv = process.env,
  pauses: readonly number[] = [500, 1000, 2000, 4000],
): Hub {
  const { HF_HUB_OFFLINE: offline = '', HF_ENDPOINT: named, HF_HUB_DOWNLOAD_TIMEOUT: timeout } = env;
  if (/^(1|on|yes|true)$/i.test(offline)) {
    throw new UserError(`HF_HUB_OFFLINE is ${offline}: nothing is downloaded until it is unset`);
  }
  const endpoint = (named || 'https://huggingface.co').replace(/\/+$/, '');
  const url = URL.canParse(endpoint) ? new URL(endpoint) : undefined;
  if (!url || !/^https?:$/.test(url.protocol) || url.username || url.search || url.hash) {
    throw new UserError('HF_ENDPOINT should be an address such as https://huggingface.co, and is none');
  }
  const seconds = timeout ? Number(timeout) : 10;
  if (!(seconds > 0 && seconds <= 3600)) {
    throw new UserError(
      `HF_HUB_DOWNLOAD_TIMEOUT ${timeout}: should be seconds, more than 0 and at most 3600`,
    );
  }
  return { model, endpoint, token: readToken(env), silentMs: 1000 * seconds, pauses };
}

function readToken({ HF_TOKEN: given = '' }: NodeJS.ProcessEnv): string | undefined {
  const token = given.trim();
  if (/[^\x21-\x7e]/.test(token)) throw new UserError('HF_TOKEN holds characters that are in no token');
  return token || undefined;
}

/** What may go better another time. */
export class Dropped extends Error {}

/**
 * Does again what was dropped, after each of the hub's pauses.
 * @param reached how many bytes are there: who gets on is given all tries anew
 * @throws UserError when none is left
 */
export async function persist<T>(hub: Hub, attempt: () => Promise<T>, reached = () => 0): Promise<T> {
  let [tries, from] = [0, reached()];
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (!(error instanceof Dropped)) throw error;
      if (reached() - from >= progress) [tries, from] = [0, reached()];
      if (tries === hub.pauses.length) {
        throw new UserError(`${error.message}, ${tries + 1} times: the same command goes on from here later`);
      }
      await pause(hub.pauses[tries++]);
    }
  }
}

/**
 * Asks once, and gives the answer's body piece by piece; a redirection to another host goes without the token.
 * @param take is shown the answer first, and returns what takes the pieces
 * @throws Dropped where nothing comes, or not all of it; UserError for what stays refused
 */
export async function ask(
  hub: Hub,
  address: string,
  headers: Record<string, string>,
  take: (response: Response) => Promise<(piece: Uint8Array) => void | Promise<void>>,
): Promise<Response> {
  const silence = new AbortController();
  const watch = setTimeout(() => silence.abort(), hub.silentMs);
  const { signal } = silence;
  const heard = <T>(answer: Promise<T>): Promise<T> =>
    answer.catch((error: unknown) => {
      const why = signal.aborted
        ? `says nothing for ${hub.silentMs / 1000} s`
        : `cannot be read: ${reasonOf(error)}`;
      throw new Dropped(`${address} ${why}`);
    });
  try {
    const response = await heard(fetch(address, { headers: headersOf(hub, address, headers), signal }));
    if (!response.ok && response.status !== 416) throw refusalOf(hub, response, address);
    const on = await take(response);
    const body = response.body?.getReader() as ReadableStreamDefaultReader<Uint8Array> | undefined;
    while (body) {
      const { done, value } = await heard(body.read());
      if (done) break;
      watch.refresh();
      await on(value);
    }
    return response;
  } finally {
    clearTimeout(watch);
    silence.abort(); // what was not read is not wanted
  }
}

/** The token goes to the hub alone; fetch takes it away where another host is behind a redirection. */
function headersOf(hub: Hub, address: string, headers: Record<string, string>): Record<string, string> {
  const ours = new URL(address).origin === new URL(hub.endpoint).origin;
  const known = { 'accept-encoding': 'identity', ...headers };
  return ours && hub.token ? { ...known, authorization: `Bearer ${hub.token}` } : known;
}

/** Why a request failed: fetch itself says no more than that it did. */
function reasonOf(error: unknown): string {
  const { cause } = error as { cause?: unknown };
  return messageOf(cause ?? error).split('\n')[0] || 'the connection failed';
}

function refusalOf(hub: Hub, response: Response, address: string): Error {
  const { model, endpoint, token } = hub;
  const { status } = response;
  const answer = `answers ${status} ${response.statusText}`.trim();
  const elsewhere = response.url !== '' && new URL(response.url).origin !== new URL(endpoint).origin;
  // The addresses of a hub's store are good for a while: the next one may be.
  if (elsewhere || [408, 425, 429].includes(status) || status >= 500)
    return new Dropped(`${address} ${answer}`);
  if (status === 401 || status === 403) {
    const why = token
      ? 'the token in HF_TOKEN may not read it: accept its terms there'
      : 'there is no such model, or one must accept its terms there and name a token in HF_TOKEN';
    return new UserError(`${endpoint}/${model.name} ${answer}: ${why}`);
  }
  if (status === 404) {
    const revision = response.headers.get('x-error-code') === 'RevisionNotFound' || model.revision !== 'main';
    const what = revision ? `${model.name} of revision ${model.revision}` : model.name;
    return new UserError(`${endpoint} has no ${what}: ${address} ${answer}`);
  }
  return new UserError(`${address} ${answer}`);
}

/** An answer as the hub's library takes it, read whole. @throws UserError where it is endless */
export async function askWhole(
  hub: Hub,
  address: string,
  headers: Record<string, string>,
): Promise<Response> {
  return persist(hub, async () => {
    const pieces: Uint8Array[] = [];
    let size = 0;
    const { status, headers: told } = await ask(hub, address, headers, () =>
      Promise.resolve((piece) => {
        pieces.push(piece);
        if ((size += piece.length) > longestList) {
          throw new UserError(
            `${address} answers with more than ${longestList / 2 ** 20} MiB: that is no list of files`,
          );
        }
      }),
    );
    return new Response(Buffer.concat(pieces), { status, headers: told });
  });
}
