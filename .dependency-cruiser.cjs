/**
 * The floors of src/: a room imports only from floors below its own. A room is a folder or a single file;
 * files of one room may import one another, and nothing may form a circle.
 */
const floors = [
  ['errors.ts', 'random.ts'],
  ['bytes.ts', 'json-syntax.ts'],
  ['json.ts'],
  ['tensor/', 'folder.ts'],
  ['io/', 'image/', 'text/'],
  ['vision/', 'projector.ts', 'decoder/'],
  ['compress/'],
  ['checkpoint/'],
  ['plan.ts', 'cost.ts', 'inputs.ts'],
  ['story.ts'],
  ['index.ts'],
  ['node/', 'world/', 'backend/', 'testing/'],
  ['report/'],
  ['train/', 'eval/'],
  ['node.ts', 'testing.ts'],
  ['cli/', 'study/', 'page/'],
];
/** The core: the floors up to its index. It runs in a page too, so it imports nothing of Node's. */
const core = floors.slice(0, 1 + floors.findIndex((rooms) => rooms.includes('index.ts'))).flat();
const packages = '^node_modules/(@tensorflow/tfjs-core|@huggingface/(jinja|tokenizers))/';

const pattern = (rooms) => `^src/(${rooms.map((room) => room.replace('.', '\\.')).join('|')})`;

const onFloors = pattern(floors.flat());

const upward = floors.slice(0, -1).map((rooms, floor) => ({
  name: `${rooms[0].replace(/\W+$/, '')}-floor-imports-upward`,
  severity: 'error',
  from: { path: pattern(rooms) },
  to: { path: pattern(floors.slice(floor + 1).flat()) },
}));

// Sideways: two rooms of one floor do not import each other.
const sideways = floors.flatMap((rooms) =>
  rooms.map((room) => ({
    name: `${room.replace(/\W+$/, '')}-imports-sideways`,
    severity: 'error',
    from: { path: pattern([room]) },
    to: { path: pattern(rooms.filter((other) => other !== room).concat('$none')) },
  })),
);

module.exports = {
  forbidden: [
    { name: 'no-circle', severity: 'error', from: {}, to: { circular: true } },
    // A file outside the floors is seen when it imports, when it is imported, and when it does neither.
    ...[
      { from: { path: '^src/', pathNot: onFloors }, to: {} },
      { from: {}, to: { path: '^src/', pathNot: onFloors } },
      { from: { orphan: true, path: '^src/', pathNot: onFloors }, to: {} },
    ].map((rule) => ({ name: 'every-file-has-a-floor', severity: 'error', ...rule })),
    // A page in a browser runs it as it is.
    {
      name: 'tensor-is-free-of-node',
      severity: 'error',
      from: { path: '^src/tensor/' },
      to: { dependencyTypes: ['core'] },
    },
    // What the page's build makes is no file.
    { name: 'resolvable', severity: 'error', from: {}, to: { couldNotResolve: true, pathNot: '^made:' } },
    {
      name: 'core-imports-no-node',
      severity: 'error',
      from: { path: pattern(core) },
      to: { dependencyTypesNot: ['local'], pathNot: packages },
    },
    ...upward,
    ...sideways,
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: {
      extensions: ['.ts', '.js', '.json'],
      exportsFields: ['exports'],
      conditionNames: ['import', 'node', 'default'],
    },
  },
};
