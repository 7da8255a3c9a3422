/**
 * Builds the page into static files that any host serves, under any path: `index.html` with its script, the worker, the
 * weights and the backend's binary beside it; and `single.html`, which holds all of that by itself.
 */
import { cp, mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { build, type InlineConfig, type Plugin } from 'vite';
import { computeCache, shortNumbers } from './cached.ts';
import { renderEquations } from './equations.ts';

const root = path.join(import.meta.dirname, '..', '..', '..');
const simd = 'tfjs-backend-wasm-simd.wasm';

/** What the first view does not fetch: the page as one file, CLIP's text tower, other backends than wasm. */
const later = /^(single\.html|weights\/clip\/|chunk-)/;

/** Modules whose content is made at build time. */
function made(modules: Record<string, () => Promise<unknown>>): Plugin {
  return {
    name: 'made-at-build',
    resolveId: (source) => (source in modules ? `\0${source}` : undefined),
    load: async (id) => {
      const make = modules[id.slice(1)];
      if (!id.startsWith('\0') || !make) return undefined;
      return `export default JSON.parse(${JSON.stringify(JSON.stringify(await make(), shortNumbers))})`;
    },
  };
}

const common = (out: string): InlineConfig => ({
  configFile: false,
  logLevel: 'error',
  base: './',
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
  build: {
    outDir: out,
    emptyOutDir: false,
    target: 'es2022',
    modulePreload: false,
    chunkSizeWarningLimit: 4000,
  },
});

/** @param out an empty folder, or one that may be emptied */
export async function buildPage(out: string): Promise<void> {
  await rm(out, { recursive: true, force: true });
  await mkdir(out, { recursive: true });
  const page = path.join(root, 'src/page');
  const config = common(out);
  const names = {
    entryFileNames: '[name].js',
    chunkFileNames: 'chunk-[name].js',
    assetFileNames: '[name][extname]',
  };
  await build({
    ...config,
    root: page,
    plugins: [
      made({
        'made:cache': () => computeCache(path.join(root, 'weights/llava')),
        'made:equations': () => renderEquations(path.join(root, 'src')),
      }),
    ],
    build: {
      ...config.build,
      rolldownOptions: { input: { page: path.join(page, 'index.html') }, output: names },
    },
  });
  const worker = { input: { worker: path.join(page, 'worker.ts') }, output: names };
  await build({ ...config, root: page, build: { ...config.build, rolldownOptions: worker } });
  await cp(path.join(root, 'node_modules/@tensorflow/tfjs-backend-wasm/dist', simd), path.join(out, simd));
  for (const name of ['llava', 'clip']) {
    await cp(path.join(root, 'weights', name), path.join(out, 'weights', name), { recursive: true });
  }
  await writeSingle(out, await bundleWorker(config, page));
}

/** The worker as one classic script, with wasm alone: a page that is a file may start no module, and fetches no parts. */
async function bundleWorker(config: InlineConfig, page: string): Promise<string> {
  const result = await build({
    ...config,
    root: page,
    plugins: [
      {
        name: 'wasm-alone',
        enforce: 'pre',
        resolveId: (source) => (/tfjs-backend-web(gl|gpu)$/.test(source) ? '\0none' : undefined),
        load: (id) => (id === '\0none' ? 'export {}' : undefined),
      },
    ],
    build: {
      ...config.build,
      write: false,
      rolldownOptions: {
        input: { worker: path.join(page, 'worker.ts') },
        output: { codeSplitting: false, format: 'iife' },
      },
    },
  });
  const { output } = result as { output: { code?: string }[] };
  return output[0].code!;
}

/** Everything in one file: script and style in their places, all else as data of the page. */
async function writeSingle(out: string, worker: string): Promise<void> {
  const text = (file: string) => readFile(path.join(out, file), 'utf8');
  const files = (await listFiles(out)).filter((file) => file === simd || file.startsWith('weights/llava/'));
  const encoded = await Promise.all(
    files.map(async (file) => [file, (await readFile(path.join(out, file))).toString('base64')]),
  );
  const data = [...encoded, ['worker.js', Buffer.from(worker).toString('base64')]];
  const inScript = (code: string) => code.replaceAll('</script', '<\\/script');
  const scripts = [
    `<script>globalThis.vtcFiles=${JSON.stringify(Object.fromEntries(data))}</script>`,
    `<script type="module">${inScript(await text('page.js'))}</script>`,
  ];
  const style = `<style>${await text('page.css')}</style>`;
  const html = (await text('index.html'))
    .replace(/\s*<link rel="stylesheet"[^>]*>/, '')
    .replace(/\s*<script type="module"[^>]*><\/script>/, '')
    .replace('</head>', () => `${style}</head>`)
    .replace('</body>', () => `${scripts.join('\n')}</body>`);
  await writeFile(path.join(out, 'single.html'), html);
}

async function listFiles(dir: string): Promise<string[]> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => path.relative(dir, path.join(entry.parentPath, entry.name)).split(path.sep).join('/'))
    .sort();
}

/** Bytes of what the first view fetches, and of the file that holds all. */
export async function measurePage(out: string): Promise<{ first: number; single: number }> {
  const sizes = await Promise.all(
    (await listFiles(out)).map(async (file) => ({ file, size: (await stat(path.join(out, file))).size })),
  );
  const sum = (wanted: (file: string) => boolean) =>
    sizes.filter(({ file }) => wanted(file)).reduce((total, { size }) => total + size, 0);
  return { first: sum((file) => !later.test(file)), single: sum((file) => file === 'single.html') };
}
