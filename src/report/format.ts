/** Numbers and tables for people. */

/** 1234567 → `1.23 M` */
export function formatCount(value: number): string {
  return scale(value, 1000, ['', 'k', 'M', 'G', 'T']);
}

/** Bytes in powers of 1024. */
export function formatBytes(bytes: number): string {
  return scale(bytes, 1024, ['B', 'KiB', 'MiB', 'GiB', 'TiB']);
}

/** Three digits, in the largest unit that leaves at least 1 of it. */
function scale(value: number, base: number, units: string[]): string {
  let step = 0;
  while (Math.round(value / base ** step) >= base && step < units.length - 1) step++;
  const scaled = value / base ** step;
  const digits = step > 0 && scaled < 999.5 ? scaled.toPrecision(3) : String(Math.round(scaled)); // never 1.00e+3
  return `${digits} ${units[step]}`.trim();
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
