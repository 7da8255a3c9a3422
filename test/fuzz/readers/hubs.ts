/** What a hub says a model is made of: values, types, lengths and keys changed anywhere in its JSON, and the text damaged. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { listModel } from '../../../src/node/hub-listing.ts';
import { openHub } from '../../../src/node/hub-requests.ts';
import type { Random } from '../../../src/random.ts';
import { mutateBytes, mutateJson } from '../mutate.ts';
import type { Fuzz } from '../fuzz.ts';

const commit = 'c'.repeat(40);
const info = { _id: '1', id: 'org/name', sha: commit, lastModified: '2026-01-01T00:00:00Z', gated: false };
const lfs = { oid: 'a'.repeat(64), size: 5000, pointerSize: 132 };
const file = (path: string) => ({ type: 'file', path, size: 300, oid: 'b'.repeat(40) });
const list = [
  { ...file('additional_chat_templates'), type: 'directory' },
  file('config.json'),
  { ...file('model.safetensors'), size: lfs.size, lfs },
  file('tokenizer.json'),
];

const damage = (random: Random, value: unknown): Buffer => {
  const kind = random();
  const text = Buffer.from(JSON.stringify(kind < 0.6 ? mutateJson(random, value) : value));
  return kind < 0.8 ? text : mutateBytes(random, text);
};

export const hubs: Fuzz = {
  async prepare() {
    const honest: Record<string, string | Buffer> = {
      info: JSON.stringify(info),
      list: JSON.stringify(list),
    };
    let answers = honest;
    const server = createServer((request, response) => {
      const isList = request.url!.includes(`/tree/${commit}?`);
      response.end(isList ? answers['list'] : request.url!.includes('/tree/') ? '[]' : answers['info']);
    });
    await new Promise<void>((go) => server.listen(0, '127.0.0.1', go));
    server.on('connection', (socket) => socket.unref()).unref(); // the process ends nevertheless
    const env = { HF_ENDPOINT: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
    return (random) => {
      const isInfo = random() < 0.3;
      const damaged = damage(random, isInfo ? info : list);
      return Promise.resolve({
        what: damaged.toString(),
        run: async () => {
          answers = { ...honest, [isInfo ? 'info' : 'list']: damaged };
          const { files } = await listModel(openHub({ name: 'org/name', revision: 'main' }, env, []));
          const bad = files.find(({ path, hash }) => /\.\.|^\/|\\/.test(path) || !/^[0-9a-f]+$/.test(hash));
          if (bad) throw new Error(`${bad.path} or ${bad.hash} is no place in a folder`);
        },
      });
    };
  },
};
