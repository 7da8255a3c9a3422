import path from 'node:path';
import { Option, type Command } from 'commander';
import { checkWritable, makeFolder, writeText } from '../node/files.ts';
import { encodePng } from '../node/decode.ts';
import { createClip, frameScenes } from '../world/clip.ts';
import { askClip, clipChoices } from '../world/clip-questions.ts';
import { drawWorld } from '../world/draw.ts';
import { askScene, choicesOf } from '../world/questions.ts';
import { createScene } from '../world/scene.ts';
import { splits, type Split } from '../world/split.ts';
import { readInteger } from './options.ts';
import { createBar } from './progress.ts';

interface WorldFlags {
  split: Split;
  count: number;
  clips?: number;
  out: string;
}

export function addWorldCommand(program: Command): void {
  program
    .command('world')
    .description('draw scenes of the world that the shipped model was trained on, and their questions')
    .addOption(
      new Option('--split <name>', 'which scenes; no two splits share one').choices(splits).default('test'),
    )
    .option('--count <n>', 'number of scenes', readInteger(1), 100)
    .addOption(
      new Option('--clips <n>', 'so many clips instead, each a folder of frames')
        .argParser(readInteger(1))
        .conflicts('count'),
    )
    .requiredOption('--out <dir>', 'folder for a PNG of each scene or frame, and questions.jsonl')
    .action((flags: WorldFlags) => (flags.clips === undefined ? writeWorld(flags) : writeClips(flags)));
}

/** The questions are written last: where they are, all their pictures are. */
async function writeWorld({ split, count, out }: WorldFlags): Promise<void> {
  await makeFolder(out);
  const file = path.join(out, 'questions.jsonl');
  await checkWritable(file);
  const lines: string[] = [];
  const bar = createBar(`drawing ${split} scenes`);
  try {
    for (let index = 0; index < count; index++) {
      const scene = createScene(split, index);
      const image = `${scene.id}.png`;
      await encodePng(drawWorld(scene), path.join(out, image));
      for (const { id, question, answer, type, boxes } of askScene(scene)) {
        lines.push(JSON.stringify({ id, image, question, answer, type, choices: choicesOf[type], boxes }));
      }
      bar.update(index + 1, count);
    }
  } finally {
    bar.stop();
  }
  await writeText(file, `${lines.join('\n')}\n`);
  console.log(`${count} scenes of the ${split} split and ${lines.length} questions: ${out}`);
}

/** The same of clips: `ID/0.png`, `ID/1.png`, … */
async function writeClips({ split, clips: count = 0, out }: WorldFlags): Promise<void> {
  await makeFolder(out);
  const file = path.join(out, 'questions.jsonl');
  await checkWritable(file);
  const lines: string[] = [];
  const bar = createBar(`drawing ${split} clips`);
  try {
    for (let index = 0; index < count; index++) {
      const clip = createClip(split, index);
      await makeFolder(path.join(out, clip.id));
      const frames = frameScenes(clip).map((_, frame) => `${clip.id}/${frame}.png`);
      for (const [frame, scene] of frameScenes(clip).entries()) {
        await encodePng(drawWorld(scene), path.join(out, frames[frame]));
      }
      for (const { id, question, answer, type } of askClip(clip)) {
        lines.push(JSON.stringify({ id, frames, question, answer, type, choices: clipChoices[type] }));
      }
      bar.update(index + 1, count);
    }
  } finally {
    bar.stop();
  }
  await writeText(file, `${lines.join('\n')}\n`);
  console.log(`${count} clips of the ${split} split and ${lines.length} questions: ${out}`);
}
