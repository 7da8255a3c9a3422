/**
 * A Markdown table; columns are padded so that it reads well in a terminal too.
 * Cells are text: what would be markup in them is escaped.
 * @param left how many columns, from the first, are words; the others are figures and stand to the right
 */
export function markdownTable(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  left: number,
): string {
  const titles = head.map(escapeMarkdown);
  const lines = rows.map((row) => row.map(escapeMarkdown));
  const widths = titles.map((title, c) => Math.max(3, title.length, ...lines.map((row) => row[c].length)));
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell, c) => (c < left ? cell.padEnd(widths[c]) : cell.padStart(widths[c]))).join(' | ')} |`;
  const rule = widths.map((width, c) => (c < left ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`));
  return [line(titles), line(rule), ...lines.map(line)].join('\n');
}

/** Text that stays text, on one line: marks of Markdown, of its tables and of HTML are escaped. */
export function escapeMarkdown(text: string): string {
  return text
    .replaceAll(/[\p{Cc}\u2028\u2029]+/gu, ' ')
    .replaceAll(/[\\|`*<>]|\](?=[([])/g, '\\$&')
    .replaceAll(/&(?=#?\w+;)/g, '&amp;');
}

/** Text as code, on one line, whatever backticks it has. */
export function markdownCode(text: string): string {
  const line = text.replaceAll(/[\p{Cc}\u2028\u2029]+/gu, ' ');
  const longest = Math.max(0, ...(line.match(/`+/g) ?? []).map((run) => run.length));
  const fence = '`'.repeat(longest + 1);
  return longest > 0 ? `${fence} ${line} ${fence}` : `${fence}${line}${fence}`;
}
