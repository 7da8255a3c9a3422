/** The backends of a browser; wasm is the one whose numbers are held against Node's. */
export const pageBackends = ['wasm', 'webgl', 'webgpu'] as const;
/** One of {@link pageBackends}. */
export type PageBackend = (typeof pageBackends)[number];
