import { createServer } from 'node:http';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Command } from 'commander';
import { UserError } from '../errors.ts';
import { reasonOf } from '../node/files.ts';
import { readInteger } from './options.ts';

/** Where `npm run page` puts it: from src/cli and from dist/cli. */
const pageFolder = fileURLToPath(new URL('../../dist/page', import.meta.url));

interface PageFlags {
  port: number;
  host: string;
}

export function addPageCommand(program: Command): void {
  program
    .command('page')
    .description('serve the page on which the whole method moves, until Ctrl+C')
    .option('--port <n>', 'the port; 0 takes a free one', readInteger(0), 8080)
    .option(
      '--host <name>',
      'the address to listen on; by default nobody but this machine is served',
      '127.0.0.1',
    )
    .action(run);
}

async function run({ port, host }: PageFlags): Promise<void> {
  if (port > 65_535) throw new UserError(`--port ${port}: ports go up to 65535`);
  if (!existsSync(path.join(pageFolder, 'index.html'))) {
    throw new UserError(
      `the page has not been built: there is no ${path.relative('', pageFolder)}/index.html; npm run page builds it`,
    );
  }
  const { default: sirv } = await import('sirv');
  const serve = sirv(pageFolder);
  const server = createServer((request, response) => {
    serve(request, response, () => {
      response.writeHead(404).end('there is no such file');
    });
  });
  server.listen(port, host);
  try {
    await once(server, 'listening');
  } catch (error) {
    const next = (error as NodeJS.ErrnoException).code === 'EADDRINUSE' ? '; --port 0 takes a free one' : '';
    throw new UserError(`cannot serve on ${host}, port ${port}: ${reasonOf(error)}${next}`);
  }
  const { port: taken } = server.address() as AddressInfo;
  console.log(`http://${host}:${taken}/ (Ctrl+C ends it)`);
  await once(server, 'close');
}
