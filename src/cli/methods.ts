import type { Command } from 'commander';
import { stageNames } from '../compress/method.ts';
import { methods, systems } from '../compress/registry.ts';

export function addMethodsCommand(program: Command): void {
  program
    .command('methods')
    .description('list the compression methods with their papers and options')
    .action(() => {
      for (const { name, stages, summary, paper, defaults, help } of [...methods, ...systems]) {
        console.log(
          `${name} (${stages.map((stage) => stageNames[stage]).join(' and ')})\n  ${summary}\n  ${paper}`,
        );
        for (const [option, value] of Object.entries(defaults)) {
          const { text, choices } = help[option];
          console.log(`  ${option}=${value}  ${text}${choices ? `: ${choices.join(', ')}` : ''}`);
        }
      }
    });
}
