/** The configs of published folders: each is read as transformers reads it. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { readArchitecture } from '../../src/node/checkpoint.ts';
import { UserError } from '../../src/errors.ts';
import { writeConfig } from '../support/checkpoint.ts';
import { golden } from '../support/golden.ts';

const { cases } = JSON.parse(readFileSync(golden('architectures.json'), 'utf8')) as {
  cases: { name: string; config: object; read: object }[];
};

test.each(cases)('$name', async ({ config, read }) => {
  expect(await readArchitecture(await writeConfig(config))).toEqual({ kind: 'llava', ...read });
});

const siglip = { model_type: 'llava', vision_config: { model_type: 'siglip_vision_model' } };

test.each([
  [
    siglip,
    "vision_feature_select_strategy default drops the first token, which in SigLIP's tower is a patch and not [CLS]: it should be full",
  ],
  [
    { model_type: 'vipllava', vision_feature_layers: [-2, 26] },
    'vision_feature_layers 26 is not one of the 25 hidden states',
  ],
  [
    { model_type: 'vipllava', vision_feature_layers: [] },
    'vision_feature_layers is a list of 0, should name 1 to 25 hidden states',
  ],
])('refused: %j', async (config, message) => {
  const dir = await writeConfig(config);
  await expect(readArchitecture(dir)).rejects.toThrow(new UserError(`${dir}/config.json: ${message}`));
});
