import { createServer } from 'node:http';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { expect, test } from 'vitest';
import { vtc } from '../support/cli.ts';

test('page refuses a port that there is not', async () => {
  const { code, stderr } = await vtc('page', '--port', '70000');
  expect(code).toBe(1);
  expect(stderr).toBe('error: --port 70000: ports go up to 65535\n');
});

test('page refuses a port that is taken; before that, a page that was not built', async () => {
  const other = createServer().listen(0, '127.0.0.1');
  await once(other, 'listening');
  try {
    const { port } = other.address() as AddressInfo;
    const { code, stderr } = await vtc('page', '--port', String(port));
    expect(code).toBe(1);
    expect(stderr).toMatch(
      existsSync('dist/page/index.html')
        ? /^error: cannot serve on 127\.0\.0\.1, port \d+: .*; --port 0 takes a free one\n$/
        : /^error: the page has not been built: there is no dist\/page\/index\.html; npm run page builds it\n$/,
    );
  } finally {
    other.close();
  }
});
