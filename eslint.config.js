import tseslint from 'typescript-eslint';

export default tseslint.config(
  { ignores: ['dist', 'out', 'coverage', 'node_modules', '**/*.cjs'] },
  {
    files: ['**/*.{ts,tsx}'],
    extends: [tseslint.configs.recommendedTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': 'error',
      '@typescript-eslint/no-non-null-assertion': 'off',
      '@typescript-eslint/restrict-template-expressions': 'off',
      // tfjs infers a tensor's rank from the assertion: the rule would have each written twice.
      '@typescript-eslint/no-unnecessary-type-assertion': 'off',
      'eqeqeq': 'error',
      'prefer-const': 'error',
    },
  },
  {
    // The core runs in a page too. What it imports, .dependency-cruiser.cjs holds.
    files: ['src/**/*.ts'],
    ignores: ['node.ts', '{node,backend,report,train,eval,cli,study,page}/**'].map((path) => `src/${path}`),
    rules: {
      'no-restricted-globals': ['error', 'process', 'Buffer', 'require', 'global', '__dirname', '__filename'],
    },
  },
  {
    // WebGL and WebGPU read back only while a promise is waited for.
    files: ['src/**/*.{ts,tsx}'],
    ignores: ['src/train/**'],
    rules: {
      'no-restricted-properties': [
        'error',
        ...['dataSync', 'arraySync', 'bufferSync'].map((property) => ({
          property,
          message: 'await data() instead',
        })),
      ],
    },
  },
);
