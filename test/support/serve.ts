import { createServer } from 'node:http';
import { readFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import path from 'node:path';

const types: Record<string, string> = {
  '.css': 'text/css',
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.json': 'application/json',
  '.png': 'image/png',
  '.wasm': 'application/wasm',
};

export interface Server {
  /** `http://127.0.0.1:PORT` */
  address: string;
  /** What was asked for, as `GET /model.safetensors bytes=0-7`. */
  requests: string[];
  close(): Promise<void>;
}

/**
 * A small static server.
 * @param folders by the path under which each is served; the longest that fits is taken
 * @param ranges whether it serves parts of files
 */
export async function serve(folders: Record<string, string>, ranges = true): Promise<Server> {
  const requests: string[] = [];
  const server = createServer((request, response) => {
    void (async () => {
      const url = decodeURIComponent(new URL(request.url ?? '/', 'http://here').pathname);
      const range = request.headers.range;
      requests.push([request.method, url, ...(range ? [range] : [])].join(' '));
      const base = Object.keys(folders)
        .filter((one) => url.startsWith(one))
        .sort((a, b) => b.length - a.length)[0];
      const file = path.join(folders[base], url.slice(base.length) || 'index.html');
      const bytes = await readFile(file).catch(() => undefined);
      if (!bytes) return response.writeHead(404).end();
      const [, begin, end] = /^bytes=(\d+)-(\d+)$/.exec((ranges && range) || '') ?? [];
      const type = { 'content-type': types[path.extname(file)] ?? 'application/octet-stream' };
      if (begin === undefined) {
        return response.writeHead(200, { ...type, 'content-length': bytes.length }).end(bytes);
      }
      if (Number(begin) >= bytes.length) return response.writeHead(416).end();
      const part = bytes.subarray(Number(begin), Number(end) + 1);
      const last = Number(begin) + part.length - 1;
      const told = {
        'content-range': `bytes ${begin}-${last}/${bytes.length}`,
        'content-length': part.length,
      };
      return response.writeHead(206, { ...type, ...told }).end(part);
    })();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    address: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    close: () =>
      new Promise((resolve, reject) => {
        server.close((error) => (error ? reject(error) : resolve()));
        server.closeAllConnections();
      }),
  };
}
