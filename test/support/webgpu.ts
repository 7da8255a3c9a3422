/** A process with an adapter that computes on the CPU, where there is one. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';

/** SwiftShader, as Debian's `chromium-common` brings it. The driver that the environment names goes before. */
const swiftShader = '/usr/lib/chromium/vk_swiftshader_icd.json';

export const driver: NodeJS.ProcessEnv =
  (process.env['VK_ICD_FILENAMES'] ?? process.env['VK_DRIVER_FILES'] ?? !existsSync(swiftShader))
    ? {}
    : { VK_ICD_FILENAMES: swiftShader };

/**
 * Runs one of the project's scripts there.
 * @throws what execFile does, with `stdout` and `stderr`
 */
export async function runOnWebgpu(
  args: string[],
  env: NodeJS.ProcessEnv,
): Promise<{ stdout: string; stderr: string }> {
  return promisify(execFile)(process.execPath, ['--import', 'tsx', ...args], {
    cwd: path.join(import.meta.dirname, '../..'),
    env: { ...process.env, ...driver, ...env },
    timeout: 240_000,
  });
}
