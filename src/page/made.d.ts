/* eslint-disable @typescript-eslint/consistent-type-imports -- a module's declaration cannot import by a relative path */
/** What the build makes; see build/build.ts. */
declare module 'made:cache' {
  const cache: import('./build/cached.ts').Cache;
  export default cache;
}
declare module 'made:equations' {
  const equations: import('./build/equations.ts').Equation[];
  export default equations;
}
declare module '*.css' {}
