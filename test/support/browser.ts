import { existsSync } from 'node:fs';
import path from 'node:path';

/** The browser that CHROMIUM names, or one of the search path. */
export const chromiumPath =
  process.env['CHROMIUM'] ??
  ['chromium', 'chromium-browser', 'google-chrome']
    .flatMap((name) => (process.env['PATH'] ?? '').split(path.delimiter).map((dir) => path.join(dir, name)))
    .find((file) => existsSync(file));

/** Says why tests in a browser are left out; with VTC_TEST_BROWSER set they must run. */
export function requireBrowser(): void {
  if (chromiumPath !== undefined) return;
  const reason = 'no chromium, chromium-browser or google-chrome in PATH, and CHROMIUM names none';
  if (process.env['VTC_TEST_BROWSER']) throw new Error(reason);
  console.warn(`skipping the browser: ${reason}`);
}
