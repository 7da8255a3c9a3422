"""Makes the tiny random models of this folder and what Hugging Face computes with them.

    python test/golden/make_models.py [FOLDER ...]

Writes next to this file, then reads every folder again with from_pretrained and compares. Weights are drawn
tensor by tensor from a generator seeded with the tensor's name; of the seeds 0, 1, 2, ... the first is taken
whose numbers hold no near-tie, so that float32 code must keep the same patches and say the same tokens.
Arithmetic is float64, except where Hugging Face goes down to float32: softmax, RMSNorm, the rotary tables.
"""

import json
import platform
import sys
import zlib
from pathlib import Path

import safetensors
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPVisionConfig,
    CLIPVisionModel,
    LlamaConfig,
    LlamaForCausalLM,
    LlavaConfig,
    LlavaForConditionalGeneration,
    MistralConfig,
    Qwen2Config,
    Qwen2ForCausalLM,
    SiglipVisionConfig,
    VipLlavaConfig,
    VipLlavaForConditionalGeneration,
)

HERE = Path(__file__).parent
NEW_TOKENS = 12
VERSIONS = {
    "script": "test/golden/make_models.py",
    "python": platform.python_version(),
    "torch": torch.__version__,
    "transformers": transformers.__version__,
    "safetensors": safetensors.__version__,
}


# ---- drawing weights and inputs -----------------------------------------------


def draw(name, shape, seed):
    generator = torch.Generator().manual_seed(zlib.crc32(name.encode()) * 1000 + seed)
    return torch.randn(shape, generator=generator)


def randomize(model, seed, dtype):
    """Gives every weight a size at which activations keep their scale and attention is far from uniform."""
    with torch.no_grad():
        for name, weight in model.named_parameters():
            x = draw(name, weight.shape, seed)
            if "norm" in name or "layrnorm" in name:
                x = 1 + 0.3 * x if name.endswith("weight") else 0.2 * x
            elif name.endswith("bias"):
                x = 0.3 * x
            elif "q_proj" in name or "k_proj" in name:
                x = x * 1.5 / weight.shape[-1] ** 0.5
            elif "embed_tokens" in name and model.config.tie_word_embeddings:
                x = 0.2 * x  # small, or a tied model repeats its last word for ever
            elif "embed" in name and "patch" not in name:
                x = 0.6 * x
            elif x.dim() > 1:
                x = x / weight[0].numel() ** 0.5
            weight.copy_(x.to(dtype))  # rounded to what the file can hold


def draw_prompt(spec, seed):
    """[B,T] token ids; the image token stands once for every image feature, elsewhere in each row."""
    features = spec["patches"] + spec["prefix"] * (spec["strategy"] == "full")
    rows = []
    for b, (before, after) in enumerate(spec["text"]):
        generator = torch.Generator().manual_seed(7919 * seed + b)
        text = torch.randint(3, spec["image_token"], (before + after,), generator=generator).tolist()
        rows.append(
            [1]
            + text[: before - 1]
            + [spec["image_token"]] * features
            + text[before - 1 : before + after - 1]
        )
    return torch.tensor(rows)


def draw_texts(spec, seed):
    """[B,T] token ids: begin, words, end, padding. A word may be any id below the highest but the end's own."""
    bos, end, pad, highest = spec["bos"], spec["end"], spec["pad"], spec["vocabulary"] - 1
    rows = []
    for b, words in enumerate(spec["words"]):
        generator = torch.Generator().manual_seed(7919 * seed + b)
        text = torch.randint(0, highest, (words,), generator=generator)
        text[text == end] = 1
        rows.append([bos, *text.tolist(), end] + [pad] * (max(spec["words"]) - words))
    return torch.tensor(rows)


# ---- running ------------------------------------------------------------------


def decode(model, embeddings, positions):
    """One pass of the decoder over embeddings [B,T,E] at positions [B,T]."""
    decoder = getattr(model.model, "language_model", model.model)
    # Without a mask, transformers takes a gap in the positions for the border of two packed sequences.
    mask = torch.ones(embeddings.shape[:2], dtype=torch.long)
    out = decoder(
        inputs_embeds=embeddings,
        position_ids=positions,
        attention_mask=mask,
        use_cache=False,
        output_hidden_states=True,
        output_attentions=True,
    )
    return out, model.lm_head(out.last_hidden_state)


def greedy(model, embeddings, positions, next_position, margins):
    """Greedy tokens, no cache, no stopping; margins collects (best - second best) / largest logit."""
    tokens = []
    for step in range(NEW_TOKENS):
        logits = decode(model, embeddings, positions)[1][:, -1]
        top = logits.topk(2).values
        margins.append(((top[:, 0] - top[:, 1]) / logits.abs().amax(-1)).min().item())
        token = logits.argmax(-1, keepdim=True)
        tokens.append(token)
        embeddings = torch.cat([embeddings, model.get_input_embeddings()(token)], 1)
        positions = torch.cat([positions, torch.full_like(token, next_position + step)], 1)
    return torch.cat(tokens, 1)


def numbered(name, tensors):
    return {f"{name}.{i:02d}": t for i, t in enumerate(tensors)}


def trace_vision(tower, pixels):
    out = tower(pixels, output_hidden_states=True, output_attentions=True)
    return numbered("vision.hidden", out.hidden_states) | numbered("vision.attention", out.attentions)


def trace_decoder(model, embeddings, margins):
    b, t = embeddings.shape[:2]
    positions = torch.arange(t).expand(b, t)
    out, logits = decode(model, embeddings, positions)
    traced = numbered("decoder.hidden", out.hidden_states) | numbered("decoder.attention", out.attentions)
    return traced | {
        "decoder.logits": logits,
        "full.tokens": greedy(model, embeddings, positions, t, margins),
    }


def ensemble(layers):
    """Scores [B,P] from the [CLS] attention of K layers [K,B,P], combined in five ways."""
    ranks = layers.argsort(-1).argsort(-1).to(layers.dtype)  # 0 for the smallest .. P-1 for the largest
    return {
        "sum": layers.sum(0),
        "mean": layers.mean(0),
        "max": layers.amax(0),
        "min": layers.amin(0),
        "rank-mean": ranks.mean(0),
    }


def boundary_gap(scores, u):
    """How far, relatively, the last kept score stands above the first dropped one."""
    s = scores.sort(-1, descending=True).values
    return ((s[:, u - 1] - s[:, u]) / s[:, u - 1]).min().item()


def judge_answers(traced, image_token=-1):
    """1 if every answer has at least four different tokens and none is the image token, else 0."""
    rows = [set(row) for name, tokens in traced.items() if name.endswith("tokens") for row in tokens.tolist()]
    return int(all(len(row) >= 4 and image_token not in row for row in rows))


def run_llava(model, spec, pixels, ids):
    """All expected tensors, and the smallest relative gaps found on the way."""
    config, lm, margins, gaps = model.config, model.model, [], []
    traced = trace_vision(lm.vision_tower, pixels)
    n_layers = config.vision_config.num_hidden_layers
    is_vip = config.model_type == "vipllava"
    full = not is_vip and config.vision_feature_select_strategy == "full"
    prefix = int(config.vision_config.model_type == "clip_vision_model")  # SigLIP has no [CLS]
    chosen = config.vision_feature_layers if is_vip else config.vision_feature_layer
    chosen = [i % (n_layers + 1) for i in ([chosen] if isinstance(chosen, int) else chosen)]
    features = torch.cat([traced[f"vision.hidden.{i:02d}"] for i in chosen], -1)
    features = features if full else features[:, 1:]
    projected = lm.multi_modal_projector(features)
    traced["projector.output"] = projected
    theirs = torch.stack(list(model.get_image_features(pixels, return_dict=True).pooler_output))
    torch.testing.assert_close(projected, theirs)  # the model itself chooses the same features

    words = model.get_input_embeddings()(ids)
    is_image = ids == config.image_token_index
    embeddings = words.masked_scatter(is_image[..., None], projected)
    traced |= trace_decoder(model, embeddings, margins)

    b, t = ids.shape
    p = spec["patches"]
    if not prefix:  # no [CLS] to ask: the patches that stay stand evenly along the raster
        u = (p + 1) // 2
        kept = ((2 * torch.arange(u) + 1) * p // (2 * u)).expand(b, -1)
        name = f"uniform.u{u}"
        return traced | run_kept(model, name, embeddings, is_image, kept, 0, margins), {
            "logits": min(margins),
            "answers": judge_answers(traced, config.image_token_index),
        }
    attention = [traced[f"vision.attention.{i:02d}"] for i in range(n_layers)]  # [B,H,N,N] each
    cls = torch.stack([a[:, :, 0, 1:].mean(1) for a in attention])  # [layer,B,P]
    last = max(chosen)  # hidden[last] is the output of layer last-1: the ensemble ends there
    for k in spec["ensemble"]:
        combined = ensemble(cls[last - k : last])
        traced |= {f"ensemble.k{k}.{how}": scores for how, scores in combined.items()}
        ordered = cls[last - k : last].sort(-1).values
        steps = (ordered[..., 1:] - ordered[..., :-1]) / ordered[..., 1:]
        gaps.append(5 * steps.min().item())  # for ranks 2e-4 is enough
    for k in (1, 3):
        scores = cls[last - k : last].sum(0)
        for u in spec["budgets"]:
            gaps.append(boundary_gap(scores, u))
            kept = scores.topk(u, -1).indices.sort(-1).values  # [B,U] patches, raster order
            name = f"vtc-cls.k{k}.u{u}"
            traced |= {f"{name}.scores": scores}
            traced |= run_kept(model, name, embeddings, is_image, kept, int(full), margins)
    return traced, {
        "scores": min(gaps),
        "logits": min(margins),
        "answers": judge_answers(traced, config.image_token_index),
    }


def run_kept(model, name, embeddings, is_image, kept, full, margins):
    """The prompt with the text, the kept patches [B,U], and [CLS] if it is a feature; at both kinds of positions."""
    b, t = is_image.shape
    stays = ~is_image  # [B,T]
    for row in range(b):
        start = int(is_image[row].int().argmax())
        stays[row, start + full + kept[row]] = True
        if full:
            stays[row, start] = True
    short = embeddings[stays].view(b, -1, embeddings.shape[-1])  # [B,T-P+U,E]
    original = torch.arange(t).expand(b, t)[stays].view(b, -1)
    length = short.shape[1]
    contiguous = torch.arange(length).expand(b, -1)
    traced = {f"{name}.kept": kept}
    for how, positions, following in (("contiguous", contiguous, length), ("original", original, t)):
        traced[f"{name}.{how}.logits"] = decode(model, short, positions)[1]
        traced[f"{name}.{how}.tokens"] = greedy(model, short, positions, following, margins)
    return traced


def run_llama(model, spec, pixels, ids):
    margins = []
    traced = trace_decoder(model, model.get_input_embeddings()(ids), margins)
    return traced, {"logits": min(margins), "answers": judge_answers(traced)}


def run_clip_vision(model, spec, pixels, ids):
    return trace_vision(model, pixels), {}


def run_clip(model, spec, pixels, ids):
    text = model.text_model(ids, output_hidden_states=True)
    both = model(input_ids=ids, pixel_values=pixels)
    return (
        trace_vision(model.vision_model, pixels)
        | numbered("text.hidden", text.hidden_states)
        | {
            "text.output": text.last_hidden_state,
            "text.pooled": text.pooler_output,
            "contrast.pictures": both.image_embeds,
            "contrast.texts": both.text_embeds,
            "contrast.logits": both.logits_per_image,
        },
        {},
    )


# ---- the models ---------------------------------------------------------------


def publish(state):
    """Names in memory (transformers 5) -> names of the published LLaVA-1.5 checkpoints."""
    named = {}
    for name, tensor in state.items():
        name = name.removeprefix("model.")
        name = name.replace("vision_tower.", "vision_tower.vision_model.")
        name = name.replace("language_model.", "language_model.model.")
        if name.startswith("lm_head."):
            name = f"language_model.{name}"
        named[name] = tensor
    return named


def vision(**given):
    return CLIPVisionConfig(
        **{"hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 4, "num_attention_heads": 3}
        | given
    )


def text(family=LlamaConfig, **given):
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    return family(**sizes | {"vocab_size": 120, "max_position_embeddings": 128} | given)


LLAMA3 = {"rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0}

# A config.json written by hand stands as text here: only what differs from the defaults, or old spellings.
FULL_LLAMA3_JSON = {
    "architectures": ["LlavaForConditionalGeneration"],
    "model_type": "llava",
    "image_token_index": 119,
    "torch_dtype": "float16",
    "vision_feature_layer": -1,
    "vision_feature_select_strategy": "full",
    "vision_config": {
        "model_type": "clip_vision_model",
        "hidden_size": 24,
        "image_size": 24,
        "intermediate_size": 48,
        "num_attention_heads": 3,
        "num_hidden_layers": 4,
        "patch_size": 8,
    },
    "text_config": {
        "model_type": "llama",
        "hidden_size": 32,
        "intermediate_size": 64,
        "max_position_embeddings": 128,
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
        "rope_parameters": LLAMA3 | {"high_freq_factor": 4.0, "original_max_position_embeddings": 64},
        "tie_word_embeddings": True,
        "vocab_size": 120,
    },
}
LLAMA_BIAS_JSON = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "attention_bias": True,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "head_dim": 12,
    "hidden_act": "silu",
    "hidden_size": 32,
    "intermediate_size": 56,
    "max_position_embeddings": 128,
    "mlp_bias": True,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-05,
    "rope_scaling": {"type": "linear", "factor": 2.0},
    "rope_theta": 5000.0,
    "tie_word_embeddings": False,
    "torch_dtype": "float32",
    "vocab_size": 90,
}
LLAMA_ROPE3_JSON = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "attention_bias": False,
    "bos_token_id": 1,
    "eos_token_id": [2, 3],
    "hidden_act": "silu",
    "hidden_size": 32,
    "intermediate_size": 64,
    "max_position_embeddings": 96,
    "mlp_bias": False,
    "num_attention_heads": 2,
    "num_hidden_layers": 2,
    "num_key_value_heads": 1,
    "rms_norm_eps": 1e-05,
    "rope_scaling": LLAMA3 | {"high_freq_factor": 2.5, "original_max_position_embeddings": 24},
    "rope_theta": 1000.0,
    "tie_word_embeddings": True,
    "torch_dtype": "float32",
    "vocab_size": 90,
}
# As published ones are: a window that stands there and is not used, and a BOS token that no text begins with.
QWEN2_JSON = {
    "architectures": ["Qwen2ForCausalLM"],
    "attention_dropout": 0.0,
    "bos_token_id": 87,
    "eos_token_id": 89,
    "hidden_act": "silu",
    "hidden_size": 32,
    "intermediate_size": 56,
    "max_position_embeddings": 128,
    "max_window_layers": 1,
    "model_type": "qwen2",
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-06,
    "rope_theta": 1000000.0,
    "sliding_window": 8,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "use_sliding_window": False,
    "vocab_size": 90,
}


# As llava-interleave-qwen's: every key that stands there, and none that does not.
SIGLIP_JSON = {
    "architectures": ["LlavaForConditionalGeneration"],
    "ignore_index": -100,
    "image_token_index": 119,
    "model_type": "llava",
    "projector_hidden_act": "gelu",
    "text_config": {
        "architectures": ["Qwen2ForCausalLM"],
        "bos_token_id": 115,
        "eos_token_id": 116,
        "hidden_size": 32,
        "intermediate_size": 64,
        "max_window_layers": 21,
        "model_type": "qwen2",
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
        "num_key_value_heads": 4,
        "rope_theta": 1000000.0,
        "sliding_window": 32768,
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "vocab_size": 120,
    },
    "torch_dtype": "float16",
    "vision_config": {
        "hidden_size": 24,
        "image_size": 27,
        "intermediate_size": 44,
        "model_type": "siglip_vision_model",
        "num_attention_heads": 3,
        "num_hidden_layers": 3,
        "patch_size": 6,
        "vision_use_head": False,
    },
    "vision_feature_layer": -1,
    "vision_feature_select_strategy": "full",
}


def from_json(cls, given):
    return cls.from_dict(json.loads(json.dumps(given)))


def specs():
    llava = {
        "cls": LlavaForConditionalGeneration,
        "run": run_llava,
        "ensemble": (),
        "strategy": "default",
        "prefix": 1,
        "image_token": 119,
    }
    clip = {
        "cls": CLIPModel,
        "run": run_clip,
        "json": "save_pretrained",
        "pixels": (2, 24),
        "vocabulary": 60,
    }
    words = {
        "vocab_size": 60,
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 9,
    }
    return {
        "llava-v5keys": llava
        | {
            "config": LlavaConfig(
                vision_config=vision(image_size=24, patch_size=6, hidden_act="gelu"),
                text_config=text(
                    num_key_value_heads=2,
                    rms_norm_eps=1e-5,
                    rope_parameters={"rope_type": "linear", "rope_theta": 10000.0, "factor": 2.0},
                ),
                image_token_index=119,
                image_seq_length=16,
            ),
            "dtype": torch.float32,
            "names": lambda state: state,
            "json": "class",
            "patches": 16,
            "pixels": (2, 24),
            "text": ((3, 6), (6, 3)),
            "budgets": (1, 6),
            "ensemble": (2, 3),
        },
        "llava-full-llama3": llava
        | {
            "config": from_json(LlavaConfig, FULL_LLAMA3_JSON),
            "dtype": torch.float16,
            "names": publish,
            "json": FULL_LLAMA3_JSON,
            "strategy": "full",
            "patches": 9,
            "pixels": (1, 24),
            "text": ((4, 5),),
            "budgets": (4,),
        },
        "llava-layers": llava
        | {
            "config": LlavaConfig(
                vision_config=vision(image_size=20, patch_size=5),
                text_config=text(rms_norm_eps=1e-5),
                image_token_index=119,
                image_seq_length=16,
                vision_feature_layer=[-2, 1],
            ),
            "dtype": torch.bfloat16,
            "json": "save_pretrained",
            "patches": 16,
            "pixels": (2, 20),
            "text": ((5, 3), (2, 6)),
            "budgets": (5,),
        },
        "llava-mistral": llava
        | {
            "config": LlavaConfig(
                vision_config=vision(image_size=24, patch_size=8),
                text_config=text(MistralConfig, num_key_value_heads=2, head_dim=12, sliding_window=64),
                image_token_index=119,
                image_seq_length=9,
            ),
            "dtype": torch.bfloat16,
            "json": "save_pretrained",
            "patches": 9,
            "pixels": (1, 24),
            "text": ((4, 6),),
            "budgets": (4,),
        },
        "llava-qwen2": llava
        | {
            "config": LlavaConfig(
                vision_config=vision(image_size=24, patch_size=8),
                text_config=text(
                    Qwen2Config,
                    num_key_value_heads=2,
                    rope_parameters={"rope_type": "default", "rope_theta": 1000000.0},
                    tie_word_embeddings=True,
                    use_sliding_window=True,
                    sliding_window=64,
                    max_window_layers=1,
                ),
                image_token_index=119,
                image_seq_length=9,
                tie_word_embeddings=True,
            ),
            "dtype": torch.bfloat16,
            "json": "save_pretrained",
            "patches": 9,
            "pixels": (1, 24),
            "text": ((3, 7),),
            "budgets": (4,),
        },
        "vip-llava": llava
        | {
            "cls": VipLlavaForConditionalGeneration,
            "config": VipLlavaConfig(
                vision_config=vision(image_size=24, patch_size=8, num_hidden_layers=5),
                text_config=text(rms_norm_eps=1e-5),
                image_token_index=119,
                image_seq_length=9,
                projector_layernorm_eps=1e-3,
                vision_feature_layers=[-2, -4, 1],
            ),
            "dtype": torch.float16,
            "names": publish,
            "json": "class",
            "patches": 9,
            "pixels": (2, 24),
            "text": ((4, 5), (2, 7)),
            "budgets": (4,),
        },
        "llava-siglip": llava
        | {
            "config": from_json(LlavaConfig, SIGLIP_JSON),
            "dtype": torch.float16,
            "names": publish,
            "json": SIGLIP_JSON,
            "strategy": "full",
            "prefix": 0,
            "patches": 16,
            "pixels": (2, 27),
            "text": ((4, 5), (3, 6)),
            "budgets": (),
        },
        "llava-siglip-head": llava
        | {
            "config": LlavaConfig(
                vision_config=SiglipVisionConfig(
                    hidden_size=24,
                    intermediate_size=48,
                    num_hidden_layers=3,
                    num_attention_heads=4,
                    image_size=24,
                    patch_size=8,
                    layer_norm_eps=1e-3,
                ),
                text_config=text(rms_norm_eps=1e-5),
                image_token_index=119,
                image_seq_length=9,
                vision_feature_layer=-2,
                vision_feature_select_strategy="full",
            ),
            "dtype": torch.bfloat16,
            "json": "save_pretrained",
            "strategy": "full",
            "prefix": 0,
            "patches": 9,
            "pixels": (1, 24),
            "text": ((5, 4),),
            "budgets": (),
        },
        "clip-model": clip
        | {
            "dtype": torch.float32,
            "words": (4, 2, 6),
            "bos": 41,
            "end": 40,
            "pad": 40,
            "config": CLIPConfig(
                vision_config=vision(image_size=24, patch_size=6, num_hidden_layers=3).to_dict(),
                text_config=words | {"bos_token_id": 41, "eos_token_id": 40},
                projection_dim=10,
            ),
        },
        "clip-legacy": clip
        | {
            "dtype": torch.float16,
            "words": (3, 6),
            "bos": 58,
            "end": 59,
            "pad": 0,
            "config": CLIPConfig(
                vision_config=vision(
                    image_size=24, patch_size=12, num_hidden_layers=2, hidden_act="gelu", layer_norm_eps=1e-3
                ).to_dict(),
                text_config=words | {"hidden_act": "gelu", "layer_norm_eps": 1e-4, "eos_token_id": 2},
                projection_dim=12,
                logit_scale_init_value=1.5,
            ),
        },
        "clip-vision": {
            "cls": CLIPVisionModel,
            "run": run_clip_vision,
            "dtype": torch.float32,
            "json": "save_pretrained",
            "pixels": (2, 24),
            "config": vision(
                image_size=24, patch_size=8, num_hidden_layers=3, num_attention_heads=4, layer_norm_eps=1e-4
            ),
        },
        "llama-bias": {
            "cls": LlamaForCausalLM,
            "run": run_llama,
            "dtype": torch.float32,
            "json": LLAMA_BIAS_JSON,
            "ids": (2, 14, 90),
            "config": from_json(LlamaConfig, LLAMA_BIAS_JSON),
            "names": lambda state: state,
        },
        "llama-rope3": {
            "cls": LlamaForCausalLM,
            "run": run_llama,
            "dtype": torch.float32,
            "json": LLAMA_ROPE3_JSON,
            "ids": (1, 36, 90),
            "config": from_json(LlamaConfig, LLAMA_ROPE3_JSON),
            "names": lambda state: {k: v for k, v in state.items() if k != "lm_head.weight"},
        },
        "qwen2": {
            "cls": Qwen2ForCausalLM,
            "run": run_llama,
            "dtype": torch.bfloat16,
            "json": QWEN2_JSON,
            "ids": (2, 14, 90),
            "config": from_json(Qwen2Config, QWEN2_JSON),
            "names": lambda state: state,
        },
    }


def inputs_of(name, spec, seed):
    pixels = ids = None
    if "pixels" in spec:
        b, s = spec["pixels"]
        pixels = draw(f"{name}.pixels", (b, 3, s, s), seed)
    if "patches" in spec:
        ids = draw_prompt(spec, seed)
    elif "words" in spec:
        ids = draw_texts(spec, seed)
    elif "ids" in spec:
        b, t, v = spec["ids"]
        ids = torch.randint(3, v, (b, t), generator=torch.Generator().manual_seed(seed))
        ids[:, 0] = 1
    return pixels, ids


def compute(model, spec, pixels, ids, dtype=torch.float64):
    model = model.to(dtype).eval()
    with torch.no_grad():
        return spec["run"](model, spec, None if pixels is None else pixels.to(dtype), ids)


def make(name, spec, folder):
    for seed in range(200):
        model = spec["cls"]._from_config(spec["config"], attn_implementation="eager")
        randomize(model, seed, spec["dtype"])
        pixels, ids = inputs_of(name, spec, seed)
        traced, gaps = compute(model, spec, pixels, ids)
        if all(gap > 1e-3 for gap in gaps.values()):
            break
    else:
        raise RuntimeError(f"{name}: no seed without near-ties")
    given = {"pixel_values": pixels, "input_ids": ids}
    expected = {k: v for k, v in given.items() if v is not None} | traced
    stored = {k: (v.float() if v.is_floating_point() else v.long()).contiguous() for k, v in expected.items()}

    folder.mkdir(exist_ok=True)
    model.to(spec["dtype"])
    if spec["json"] == "save_pretrained":
        model.save_pretrained(folder)
        (folder / "generation_config.json").unlink(missing_ok=True)
    else:
        state = {k: v.contiguous() for k, v in spec["names"](model.state_dict()).items()}
        if model.config.tie_word_embeddings:
            state = {k: v for k, v in state.items() if "lm_head" not in k}
        save_file(state, folder / "model.safetensors", {"format": "pt"})
        if spec["json"] == "class":
            model.config.architectures = [spec["cls"].__name__]
            model.config.save_pretrained(folder)
        else:
            (folder / "config.json").write_text(json.dumps(spec["json"], indent=2) + "\n")
    # One metadata key: safetensors writes several in random order, and no two runs would give the same file.
    save_file(stored, folder / "expected.safetensors", {"made_with": json.dumps(VERSIONS | {"seed": seed})})
    print(f"{name}: seed {seed}, gaps { ({k: round(v, 5) for k, v in gaps.items()}) }")


# ---- reading it all again -----------------------------------------------------


def check(name, spec, folder):
    """Reads the folder with from_pretrained: same numbers; generate(), with its cache: same tokens."""
    model, info = spec["cls"].from_pretrained(
        folder, dtype=torch.float64, attn_implementation="eager", output_loading_info=True
    )
    wrong = {k: v for k, v in info.items() if v}
    assert not wrong, f"{name}: {wrong}"
    if hasattr(model, "lm_head") and model.config.tie_word_embeddings:
        assert model.lm_head.weight is model.get_input_embeddings().weight, f"{name}: the head is not tied"
    expected = load_file(folder / "expected.safetensors")
    pixels, ids = expected.get("pixel_values"), expected.get("input_ids")
    again, _ = compute(model, spec, pixels, ids)
    assert set(again) | {"pixel_values", "input_ids"} >= set(expected), name
    for key, value in again.items():
        torch.testing.assert_close(
            value.to(expected[key].dtype), expected[key], rtol=1e-6, atol=1e-6, msg=f"{name} {key}"
        )
        if "decoder.attention" in key:
            t = value.shape[-1]
            assert (value.triu(1) == 0).all() and (value[..., torch.ones(t, t).tril().bool()] > 0).all(), (
                f"{name} {key}"
            )
    if "full.tokens" in expected:
        image = {} if pixels is None else {"pixel_values": pixels.double()}
        said = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=NEW_TOKENS,
            eos_token_id=-1,
            pad_token_id=0,
            **image,
        )  # -1: never stop
        assert torch.equal(said[:, ids.shape[1] :], expected["full.tokens"]), (
            f"{name}: generate() says something else"
        )
    single, _ = compute(model, spec, pixels, ids, torch.float32)
    error = max(((v - expected[k]).abs().max() / expected[k].abs().max()).item() for k, v in single.items())
    print(f"{name}: read again and equal; in float32 the error is {error:.1g} of the largest value")
    assert error < 1e-5, f"{name}: float32 goes astray"  # integers too: kept patches and tokens are the same


if __name__ == "__main__":
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(1)
    print(VERSIONS)
    wanted = sys.argv[1:]
    for name, spec in specs().items():
        if not wanted or name in wanted:
            make(name, spec, HERE / name)
            check(name, spec, HERE / name)
    total = sum(f.stat().st_size for name in specs() for f in (HERE / name).iterdir())
    print(f"{total / 1e6:.2f} MB in all")
