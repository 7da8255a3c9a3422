import type { Command } from 'commander';
import { methods } from '../compress/registry.ts';

export function addMethodsCommand(program: Command): void {
  program
    .command('methods')
    .description('list the compression methods with their papers and options')
    .action(() => {
      for (const { name, where, summary, paper, defaults, help } of methods) {
        console.log(`${name} (${where})\n  ${summary}\n  ${paper}`);
        for (const [option, value] of Object.entries(defaults)) {
          const { text, choices } = help[option];
          console.log(`  ${option}=${value}  ${text}${choices ? `: ${choices.join(', ')}` : ''}`);
        }
      }
    });
}
