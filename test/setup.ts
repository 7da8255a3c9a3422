import fc from 'fast-check';

// `npm run test:full` looks at ten times as many cases of every property that does not set its own number.
if (process.env['FULL']) fc.configureGlobal({ numRuns: 1000 });
