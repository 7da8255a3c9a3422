/** Numbers and tables for people. */

const units = ['', 'k', 'M', 'G', 'T'];

/** 1234567 → `1.23 M` */
export function formatCount(value: number): string {
  const step = Math.min(Math.floor(Math.log10(Math.max(value, 1)) / 3), units.length - 1);
  return step === 0 ? String(value) : `${(value / 1000 ** step).toPrecision(3)} ${units[step]}`;
}

/** Bytes in powers of 1024. */
export function formatBytes(bytes: number): string {
  const step = Math.min(Math.floor(Math.log2(Math.max(bytes, 1)) / 10), units.length - 1);
  const names = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  return step === 0 ? `${bytes} B` : `${(bytes / 1024 ** step).toPrecision(3)} ${names[step]}`;
}

/** `B P` and [1, 144] → `[B=1 P=144]`; a plain number in the axes stays one. */
export function formatShape(axes: string, shape: readonly number[]): string {
  const parts = axes.split(' ').map((axis, i) => (/^\d+$/.test(axis) ? axis : `${axis}=${shape[i]}`));
  return `[${parts.join(' ')}]`;
}

/** Rows in columns, padded; columns of numbers to the right. */
export function formatTable(rows: string[][], right: number[] = []): string {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  const lines = rows.map((row) =>
    row
      .map((cell, column) =>
        right.includes(column) ? cell.padStart(widths[column]) : cell.padEnd(widths[column]),
      )
      .join('  ')
      .trimEnd(),
  );
  return lines.join('\n');
}
