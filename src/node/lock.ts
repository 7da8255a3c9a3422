/** Work that one process may do at a time: a file says which. */
import { readFile, rm } from 'node:fs/promises';
import { hostname } from 'node:os';
import { UserError } from '../errors.ts';
import { codeOf, openNew, reasonOf } from './files.ts';

/**
 * Works while no other process does the same. A process that was killed leaves its file behind: the next one takes it over.
 * @param lock the file, in a folder that is there
 * @param what is done, as `downloading org/name`
 * @throws UserError naming the process that is at work
 */
export async function alone<T>(lock: string, what: string, work: () => Promise<T>): Promise<T> {
  const own = `${hostname()} ${process.pid} ${Math.round(performance.timeOrigin)}`;
  await claim(lock, own, what);
  try {
    return await work();
  } finally {
    await rm(lock, { force: true });
  }
}

async function claim(lock: string, own: string, what: string): Promise<void> {
  const take = async () => {
    const handle = await openNew(lock);
    await handle.writeFile(own).finally(() => handle.close());
  };
  try {
    await take().catch(async (error: unknown) => {
      if (codeOf(error) !== 'EEXIST') throw error;
      const other = await readFile(lock, 'utf8');
      const [host, pid] = other.split(' ');
      if (other === own || host !== hostname() || isRunning(pid)) {
        throw new UserError(`process ${pid} on ${host} is ${what}: wait for it, or remove ${lock}`);
      }
      await rm(lock, { force: true });
      await take();
    });
  } catch (error) {
    if (error instanceof UserError) throw error;
    throw new UserError(`cannot write ${lock}: ${reasonOf(error)}`);
  }
}

/** Its number may be ours now, after a machine began anew. */
function isRunning(pid: string): boolean {
  if (Number(pid) === process.pid) return false;
  try {
    return process.kill(Number(pid), 0);
  } catch (error) {
    return codeOf(error) === 'EPERM';
  }
}
