import type { Command } from 'commander';
import { readArchitecture, openWeights } from '../node/checkpoint.ts';
import { locateModel } from '../node/hub-cache.ts';
import { typeOf, type Architecture } from '../checkpoint/architecture.ts';
import { keepings, weigh } from '../checkpoint/keeping.ts';
import { publishedNames, unusedNames, weightTable } from '../checkpoint/names.ts';
import { checkNames, type TensorSource } from '../io/weight-table.ts';
import type { DecoderConfig } from '../decoder/config.ts';
import { families } from '../decoder/families.ts';
import { patchCount, prefixTokens, towers } from '../vision/config.ts';
import { formatBytes, formatCount, formatTable } from '../report/format.ts';

export function addInspectCommand(program: Command): void {
  program
    .command('inspect')
    .description('print what a checkpoint folder holds, and whether its weights fit its config')
    .argument('<dir>', 'a Hugging Face folder, or org/name in its cache')
    .option('--json', 'print one JSON object instead of text', false)
    .action(inspect);
}

/** Tells what is there, and then what is wrong with it. */
async function inspect(given: string, { json }: { json: boolean }): Promise<void> {
  const dir = await locateModel(given);
  const architecture = await readArchitecture(dir);
  const files = await openWeights(dir);
  await files.close(); // their headers are all that is wanted
  const source = publishedNames(files, architecture);
  const table = weightTable(architecture);
  const check = () => checkNames(source, table, unusedNames(architecture));
  const tensors = [...files.tensors.values()].map(({ name, dtype, shape, begin, end }) => ({
    name,
    dtype,
    shape,
    bytes: end - begin,
  }));
  const parameters = tensors.reduce(
    (sum, { shape }) => sum + shape.reduce((product, n) => product * n, 1),
    0,
  );
  if (json) {
    const summary = { dir, architecture, files: files.files, parameters, bytes: files.bytes, tensors };
    console.log(JSON.stringify(summary, null, 2));
    return check();
  }
  console.log(describe(architecture).join('\n'));
  console.log(
    `${tensors.length} tensors, ${formatCount(parameters)} parameters, ` +
      `${formatBytes(files.bytes)} in ${files.files.length} file${files.files.length === 1 ? '' : 's'}`,
  );
  console.log(`in memory: ${describeMemory(source, table)}\n`);
  const rows = tensors.map(({ name, dtype, shape, bytes }) => [
    name,
    dtype,
    `[${shape.join(', ')}]`,
    formatBytes(bytes),
  ]);
  console.log(formatTable([['tensor', 'type', 'shape', 'size'], ...rows], [3]));
  check();
}

/** What the weights take in each of the ways that `--weights-as` names. */
function describeMemory(source: TensorSource, table: ReturnType<typeof weightTable>): string {
  const ways = table.decoder ? keepings : keepings.filter((keeping) => keeping !== 'streamed');
  return ways
    .map((keeping) => {
      const { matrices, others, stored = 0 } = weigh(source, table, keeping);
      const bytes = matrices.reduce((sum, one) => sum + one, others + stored);
      return `${formatBytes(bytes)} ${keeping === 'float32' ? 'as float32' : keeping}`;
    })
    .join(', ');
}

const titleOf = (architecture: Architecture): string =>
  typeOf(architecture) === 'llava_next' ? 'LLaVA-NeXT' : 'LLaVA';

/** An architecture in a line for each part. */
function describe(architecture: Architecture): string[] {
  const { kind } = architecture;
  const title = (text: DecoderConfig) => families[text.model_type].title;
  const lines = [
    kind === 'decoder' ? title(architecture.text) : { llava: titleOf(architecture), clip: 'CLIP' }[kind],
  ];
  if (architecture.kind !== 'decoder') {
    const v = architecture.vision;
    const tower =
      kind === 'llava' && v.model_type !== 'clip_vision_model' ? `${towers[v.model_type].title}, ` : '';
    lines.push(
      `  vision     ${tower}${v.num_hidden_layers} layers, width ${v.hidden_size}, ${v.num_attention_heads} heads, ` +
        `MLP ${v.intermediate_size} ${v.hidden_act}; ${v.image_size} px in patches of ${v.patch_size}: ` +
        `${patchCount(v)} patches${prefixTokens(v) === 1 ? ' and [CLS]' : ''}`,
    );
  }
  if (architecture.kind === 'llava') {
    const { projector, vision_feature_layer, vision_feature_select_strategy } = architecture;
    const { image_grid_pinpoints: pinpoints } = architecture;
    lines.push(
      `  features   hidden[${vision_feature_layer.join(', ')}] of 0..${architecture.vision.num_hidden_layers}, ` +
        `strategy ${vision_feature_select_strategy}`,
      ...(pinpoints
        ? [
            `  crops      of ${pinpoints.map((to) => `${to.width} × ${to.height}`).join(', ')} px, beside a thumbnail`,
          ]
        : []),
      `  projector  ${projector.layer_norm_eps === undefined ? '' : 'LayerNorm, '}${projector.kind}, ${projector.inner} to ${projector.out}, ${projector.hidden_act}`,
    );
  }
  if (architecture.kind === 'clip') {
    const { text: t } = architecture;
    lines.push(
      t
        ? `  text       ${t.num_hidden_layers} layers, width ${t.hidden_size}, ${t.num_attention_heads} heads, ` +
            `MLP ${t.intermediate_size} ${t.hidden_act}; vocabulary ${t.vocab_size}, at most ` +
            `${t.max_position_embeddings} tokens; both towers project to ${architecture.projection_dim}`
        : '  text       none: the vision tower alone',
    );
  } else {
    const t = architecture.text;
    const named = kind === 'llava' && t.model_type !== 'llama' ? `${title(t)}, ` : '';
    const window = t.sliding_window === null ? '' : `, sliding window ${t.sliding_window}`;
    lines.push(
      `  decoder    ${named}${t.num_hidden_layers} layers, width ${t.hidden_size}, ${t.num_attention_heads} heads ` +
        `(${t.num_key_value_heads} key/value) of ${t.head_dim}, FFN ${t.intermediate_size} ${t.hidden_act}, ` +
        `vocabulary ${t.vocab_size}${t.tie_word_embeddings ? ' (tied)' : ''}, context ${t.max_position_embeddings}${window}, ` +
        `RoPE ${t.rope_theta} ${t.rope_scaling.rope_type}`,
    );
  }
  return lines;
}
