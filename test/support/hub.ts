/** A Hugging Face Hub of our own on loopback, for one model, and what may be wrong with one. */
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';

/** What may become of a request for a file. */
export const fileFaults = {
  'breaks off at once': 'passing',
  'breaks off in the middle': 'passing',
  'is silent': 'passing',
  'falls silent in the middle': 'passing',
  'ends early': 'passing',
  'answers 503': 'passing',
  'serves no ranges': 'harmless',
  'redirects': 'harmless',
  'redirects to what has expired': 'passing',
  'sends another range': 'passing',
  'answers 416': 'passing',
  'sends wrong bytes': 'lie',
  'sends too much': 'lie',
  'says another size': 'lie',
  'sends a web page': 'lie',
  'answers 404': 'lie',
} as const;
export type FileFault = keyof typeof fileFaults;

/** What may be wrong with the list of files. */
export const listFaults = [
  'a size too small',
  'a size too large',
  'a size that is none',
  'a size beyond any disk',
  'a wrong hash',
  'a hash that is a path',
  'a file outside',
  'no JSON',
  'JSON of another kind',
  'a commit that is a path',
  'no end',
  'too many files',
  'too many bytes',
] as const;
export type ListFault = (typeof listFaults)[number];

export interface HubRequest {
  path: string;
  range?: string;
  authorization?: string;
  /** It came to the other host, that redirections lead to. */
  elsewhere: boolean;
}

export interface TestHub {
  address: string;
  /** The other host's. */
  elsewhere: string;
  commit: string;
  requests: HubRequest[];
  /** Of the next requests for files, one after the other; afterwards none. */
  faults: FileFault[];
  listFault?: ListFault;
  /** Who does not give it is refused. */
  token?: string;
  /** The answer to every request for a list. */
  status?: number;
  /** Answered whatever revision is asked for. */
  otherCommit?: string;
  /** The list's second page is on the other host. */
  pages?: true;
  /** Large files come in small pieces, a second long. */
  slow?: boolean;
  close: () => Promise<void>;
}

/** Files of more bytes lie in the hub's store, under their SHA-256, others in git. */
const large = 2000;

/**
 * Serves a folder as a model.
 * @param name `org/name`
 * @param also files besides the folder's, their bytes as Latin-1
 */
export async function serveHub(
  dir: string,
  name: string,
  also: Record<string, string> = {},
): Promise<TestHub> {
  const files = new Map(Object.entries(also).map(([file, text]) => [file, Buffer.from(text, 'latin1')]));
  for (const file of await readdir(dir)) files.set(file, await readFile(path.join(dir, file)));
  const commit = createHash('sha1')
    .update([...files.keys()].join())
    .digest('hex');
  const hub: TestHub = {
    address: '',
    elsewhere: '',
    commit,
    requests: [],
    faults: [],
    close: () => closeAll([main, store]),
  };

  const answer = (elsewhere: boolean) => (request: IncomingMessage, response: ServerResponse) => {
    const url = new URL(request.url!, 'http://here');
    const { range, authorization } = request.headers;
    hub.requests.push({ path: url.pathname, range, authorization, elsewhere });
    response.on('error', () => undefined);
    if (hub.token !== undefined && !elsewhere && authorization !== `Bearer ${hub.token}`) {
      return response.writeHead(authorization ? 403 : 401).end();
    }
    const at = url.pathname;
    if (hub.status !== undefined && at.startsWith('/api/')) return response.writeHead(hub.status).end();
    if (at === `/api/models/${name}/revision/main` || at === `/api/models/${name}/revision/${commit}`) {
      const sha = hub.listFault === 'a commit that is a path' ? '../../../evil' : (hub.otherCommit ?? commit);
      return sendJson(response, { id: name, sha, lastModified: '2026-01-01T00:00:00Z' });
    }
    const tree = `/api/models/${name}/tree/${commit}`;
    if (at === '/expired') return response.writeHead(403).end();
    if (at === '/page-2') return sendJson(response, listOf(files).slice(4));
    if (at === tree) return sendList(hub, response, listOf(files));
    if (at.startsWith(`${tree}/`)) return sendJson(response, listOf(files, at.slice(tree.length + 1)));
    const bytes = files.get(decodeURIComponent(at.slice(`/${name}/resolve/${commit}/`.length)));
    if (!at.startsWith(`/${name}/resolve/${commit}/`) || !bytes) {
      return response.writeHead(404, { 'x-error-code': 'RepoNotFound' }).end();
    }
    const fault = elsewhere ? undefined : hub.faults.shift();
    if (fault === 'redirects to what has expired') {
      return response.writeHead(302, { location: `${hub.elsewhere}/expired` }).end();
    }
    if (fault === 'redirects') {
      return response.writeHead(302, { location: `${hub.elsewhere}${request.url}` }).end();
    }
    if (hub.slow && bytes.length > large) void sendSlowly(response, bytes);
    else sendFile(response, bytes, range, fault);
  };
  const main = createServer(answer(false));
  const store = createServer(answer(true));
  await Promise.all([main, store].map((one) => new Promise<void>((go) => one.listen(0, '127.0.0.1', go))));
  hub.address = addressOf(main);
  hub.elsewhere = addressOf(store);
  return hub;
}

const addressOf = (server: Server) => `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

const closeAll = async (servers: Server[]): Promise<void> => {
  const closed = servers.map((server) => new Promise((resolve) => server.close(resolve)));
  for (const server of servers) server.closeAllConnections();
  await Promise.all(closed);
};

const sendJson = (response: ServerResponse, content: unknown) =>
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(content));

interface Listed {
  type: string;
  path: string;
  size: number;
  oid: string;
  lfs?: { oid: string; size: number; pointerSize: number };
}

/** A folder's entries, as the hub lists them. */
function listOf(files: Map<string, Buffer>, inside?: string): Listed[] {
  const begin = inside === undefined ? '' : `${inside}/`;
  const here = [...files].filter(([file]) => file.startsWith(begin));
  const folders = new Set(
    here.flatMap(([file]) => file.slice(begin.length).split('/').slice(0, -1).slice(0, 1)),
  );
  return [
    ...[...folders].map((folder) => ({
      type: 'directory',
      path: begin + folder,
      size: 0,
      oid: '0'.repeat(40),
    })),
    ...here
      .filter(([file]) => !file.slice(begin.length).includes('/'))
      .map(([file, bytes]) => listFile(file, bytes)),
  ];
}

function listFile(file: string, bytes: Buffer): Listed {
  const oid = createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex');
  const entry = { type: 'file', path: file, size: bytes.length, oid };
  if (bytes.length <= large) return entry;
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  return { ...entry, lfs: { oid: sha256, size: bytes.length, pointerSize: 132 } };
}

function sendList(hub: TestHub, response: ServerResponse, list: Listed[]): void {
  const entry = list.find(({ lfs }) => lfs) ?? list[0];
  const lfs = entry.lfs ?? { size: 0, oid: '' };
  if (hub.listFault === 'a size too small') lfs.size = entry.size -= 1;
  if (hub.listFault === 'a size too large') lfs.size = entry.size += 1;
  if (hub.listFault === 'a size that is none') lfs.size = -1;
  if (hub.listFault === 'a size beyond any disk') lfs.size = 2 ** 52;
  if (hub.listFault === 'a wrong hash') lfs.oid = lfs.oid.replace(/^./, (c) => (c === '0' ? '1' : '0'));
  if (hub.listFault === 'a hash that is a path') lfs.oid = '../../../../evil';
  if (hub.listFault === 'a file outside') list.push({ ...entry, path: '../evil.json' });
  if (hub.listFault === 'too many files') {
    list.push(...Array.from({ length: 10_001 }, (_, i) => ({ ...entry, path: `${i}.md` })));
  }
  if (hub.listFault === 'no JSON') response.end('<html>');
  else if (hub.listFault === 'JSON of another kind') sendJson(response, { error: null, files: 3 });
  else if (hub.listFault === 'too many bytes') response.end(' '.repeat(2 ** 25 + 1));
  else if (hub.listFault === 'no end') {
    response.setHeader('link', `<${hub.address}/api/models/org/name/tree/${hub.commit}>; rel="next"`);
    sendJson(response, []);
  } else if (hub.pages) {
    response.setHeader('link', `<${hub.elsewhere}/page-2>; rel="next"`);
    sendJson(response, list.slice(0, 4));
  } else sendJson(response, list);
}

async function sendSlowly(response: ServerResponse, bytes: Buffer): Promise<void> {
  response.writeHead(200, { 'content-length': bytes.length });
  const step = Math.ceil(bytes.length / 50);
  for (let at = 0; at < bytes.length && !response.destroyed; at += step) {
    response.write(bytes.subarray(at, at + step));
    await pause(20);
  }
  response.end();
}

function sendFile(
  response: ServerResponse,
  bytes: Buffer,
  range: string | undefined,
  fault?: FileFault,
): void {
  const asked = fault === 'serves no ranges' ? undefined : /^bytes=(\d+)-$/.exec(range ?? '')?.[1];
  const from = asked === undefined ? 0 : Number(asked);
  const rest = bytes.subarray(from);
  const half = rest.subarray(0, Math.ceil(rest.length / 2));
  const told = {
    'content-length': rest.length,
    'content-range': `bytes ${from}-${bytes.length - 1}/${bytes.length}`,
  };
  const begin = (headers: Record<string, string | number> = told) => {
    response.writeHead(asked === undefined ? 200 : 206, headers).flushHeaders();
  };
  const chunked = { 'content-range': told['content-range'] };
  switch (fault) {
    case 'breaks off at once':
      return void response.destroy();
    case 'breaks off in the middle':
      begin();
      return void response.write(half, () => setTimeout(() => response.destroy(), 5));
    case 'is silent':
      return;
    case 'falls silent in the middle':
      begin();
      return void response.write(half);
    case 'ends early':
      begin(chunked);
      return void response.end(half);
    case 'answers 503':
    case 'answers 404':
    case 'answers 416':
      return void response.writeHead(Number(fault.slice(-3))).end('no');
    case 'sends another range':
      response.writeHead(206, { 'content-range': `bytes ${from + 1}-${bytes.length - 1}/${bytes.length}` });
      return void response.end(bytes.subarray(from + 1));
    case 'sends wrong bytes':
      begin();
      return void response.end(rest.map((byte) => byte ^ 1));
    case 'sends too much':
      begin(chunked);
      return void response.end(Buffer.concat([rest, Buffer.alloc(100_000)]));
    case 'says another size':
      begin({ ...told, 'content-length': rest.length + 7 });
      return void response.end(Buffer.concat([rest, Buffer.alloc(7)]));
    case 'sends a web page':
      return void response.writeHead(200, { 'content-type': 'text/html' }).end('<html>Log in</html>');
    case 'serves no ranges':
    case 'redirects':
    case 'redirects to what has expired':
    case undefined:
      begin();
      return void response.end(rest);
  }
}
