import { execFile } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';

const root = path.join(import.meta.dirname, '..');
const readme = readFileSync(path.join(root, 'README.md'), 'utf8');
const run = promisify(execFile);
const tsx = ['--import', 'tsx'];

const pages = ['.', 'src', 'bench', 'test', 'weights'].flatMap((folder) =>
  readdirSync(path.join(root, folder), { recursive: folder !== '.' })
    .map((name) => path.join(folder, String(name)))
    .filter((name) => name.endsWith('.md')),
);

test.each(pages)('%s links to files that exist', (page) => {
  const text = readFileSync(path.join(root, page), 'utf8').replaceAll(/`[^`]*`/g, '');
  const targets = [...text.matchAll(/\]\(([^)#\s]+)(#[^)]*)?\)/g)].map(([, target]) => target);
  const place = path.join(root, path.dirname(page));
  const missing = targets.filter((to) => !to.startsWith('http') && !existsSync(path.join(place, to)));
  expect(missing).toEqual([]);
});

test('the story is one page', () => {
  const story = readFileSync(path.join(root, 'src/story.ts'), 'utf8');
  expect(story.trimEnd().split('\n').length).toBeLessThanOrEqual(90);
});

describe('the README', () => {
  test('is read in one sitting', () => {
    expect(readme.trimEnd().split('\n').length).toBeLessThanOrEqual(200);
  });

  // | equation | `line` | [file](file) |
  const equations = [...readme.matchAll(/^\| [^|`]+\| `(.+)`\s*\| \[(src\/[^\]]+)\]/gm)];

  test('has the method’s equations', () => {
    expect(equations.length).toBeGreaterThanOrEqual(10);
  });

  test.each(equations.map(([, line, file]) => [line.replaceAll('\\|', '|'), file]))(
    'quotes `%s` from %s',
    (line, file) => {
      expect(readFileSync(path.join(root, file), 'utf8')).toContain(line);
    },
  );

  test('shows what npm start prints', async () => {
    const shown = /<!-- output of npm start -->\s+```text\n([\s\S]*?)```/.exec(readme)?.[1];
    const { stdout } = await run(process.execPath, [...tsx, 'src/cli/main.ts', 'demo', '--backend', 'wasm'], {
      cwd: root,
    });
    // Times and the machine's name differ; everything else, shapes and answers included, must not.
    const plain = (text = '') =>
      text
        .replace(/ +[\d.]+ ms/g, '')
        .replace(/^backend: .*$/m, 'backend')
        .replace(/ +/g, ' ');
    expect(plain(stdout)).toBe(plain(shown));
  });
});

test('the TypeScript example of src/README.md runs', async () => {
  const page = readFileSync(path.join(root, 'src', 'README.md'), 'utf8');
  const code = /```ts\n([\s\S]*?)```/.exec(page)?.[1] ?? '';
  const file = path.join(root, 'test', `readme-example-${process.pid}.mts`);
  writeFileSync(file, code.replace("'vtc-cls/node'", "'../src/node.ts'"));
  try {
    const { stdout } = await run(process.execPath, [...tsx, file], { cwd: root });
    expect(stdout).toMatch(/kept: \[ \[ \d+, \d+, \d+, \d+ \] \]/);
  } finally {
    rmSync(file);
  }
});

test('CONTRIBUTING shows a whole method as it is, in less than 40 lines', () => {
  const contributing = readFileSync(path.join(root, 'CONTRIBUTING.md'), 'utf8');
  const shown = /```ts\n([\s\S]*?)```/.exec(contributing)?.[1] ?? '';
  expect(shown).toBe(readFileSync(path.join(root, 'src/compress/fastervlm.ts'), 'utf8'));
  expect(shown.split('\n').length).toBeLessThan(40);
  expect(readFileSync(path.join(root, 'src/compress/registry.ts'), 'utf8')).toContain('\n  fasterVlm,\n');
});
