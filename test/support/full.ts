/** `npm test` does a part of what is long, the same one every time; `npm run test:full` does all. */
export const full = Boolean(process.env['FULL']);

/** Also done where CI has set up TensorFlow, which runs single folders, not the full suite. */
export const fullOrCI = full || Boolean(process.env['CI']);
