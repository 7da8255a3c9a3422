/** What is seen, as a picture to take along. */
import { facts, shown, state, told, truth, uncut } from '../store.ts';
import { drawPatches } from './draw.ts';
import { chosenMap } from './look.tsx';

const [side, gap, text] = [480, 24, 96];

/** Draws the picture, what stays of it, the map that is chosen, and the answers. */
export function drawPng(): HTMLCanvasElement {
  const sheet = document.createElement('canvas');
  [sheet.width, sheet.height] = [3 * side + 4 * gap, side + 2 * gap + text];
  const context = sheet.getContext('2d')!;
  context.fillStyle = '#fff';
  context.fillRect(0, 0, sheet.width, sheet.height);
  const kept = told.value?.stops.at(-1)?.kept;
  const values = chosenMap();
  for (const [i, overlay] of [{}, { kept }, { values, outlined: kept }].entries()) {
    const panel = document.createElement('canvas');
    panel.width = panel.height = side;
    drawPatches(panel, shown.value, { grid: facts.grid, ...overlay });
    context.drawImage(panel, gap + i * (side + gap), gap);
  }
  const right = 'answer' in truth.value ? `; true: ${truth.value.answer}` : '';
  context.fillStyle = '#111';
  context.font = '26px sans-serif';
  context.fillText(state.value.question, gap, side + 2 * gap + 24);
  const line = `VTC-CLS, ${state.value.U} of ${facts.patches} patches: ${told.value?.answer ?? '…'}; all: ${uncut.value?.answer ?? '…'}${right}`;
  context.fillText(line, gap, side + 2 * gap + 64);
  return sheet;
}

/** Saves it. */
export function savePng(): void {
  drawPng().toBlob((blob) => {
    if (!blob) return;
    const link = document.createElement('a');
    link.href = URL.createObjectURL(blob);
    link.download = 'vtc-cls.png';
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }, 'image/png');
}
