/** `npm run page` */
import path from 'node:path';
import { buildPage, measurePage } from './build.ts';

const out = path.join(import.meta.dirname, '..', '..', '..', 'dist', 'page');
await buildPage(out);
const { first, single } = await measurePage(out);
const inMb = (bytes: number) => `${(bytes / 1e6).toFixed(2)} MB`;
console.log(
  `${path.relative(process.cwd(), out)}: the first view fetches ${inMb(first)}; single.html has ${inMb(single)}`,
);
