/** The shapes that are measured: published models' own. */
import { clipLarge336 } from '../src/checkpoint/architecture.ts';
import { parseDecoderConfig, type DecoderConfig } from '../src/decoder/config.ts';
import { parseClipVisionConfig, type ClipVisionConfig } from '../src/vision/config.ts';

const clip = (fields: Record<string, number>): ClipVisionConfig => parseClipVisionConfig(fields, 'bench');

/** OpenAI's CLIP towers; what is left out is transformers' default, ViT-B/32 at 224. */
export const visionShapes = {
  'ViT-B/32': clip({}),
  'ViT-B/16': clip({ patch_size: 16 }),
  'ViT-L/14-336': clip(clipLarge336),
};

/** TinyLlama's shape: 1.1 B parameters at 22 layers. */
export function llamaShape(layers: number): DecoderConfig {
  const fields = {
    vocab_size: 32000,
    hidden_size: 2048,
    intermediate_size: 5632,
    num_hidden_layers: layers,
    num_attention_heads: 32,
    num_key_value_heads: 4,
    max_position_embeddings: 2048,
    rms_norm_eps: 1e-5,
  };
  return parseDecoderConfig(fields, 'bench');
}
export const llamaLayers = 22;

/** LLaVA-1.5's picture in tokens, the budgets measured, and the text around it. */
export const budgets = [576, 256, 192, 128, 64, 32];
export const textTokens = 64;
