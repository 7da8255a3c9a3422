"""Writes architectures.json: what transformers takes the config.json of published folders for.

    python test/golden/make_architectures.py

A case is a folder's name on the hub, its config with every key that says something about the model and none that it
leaves out, and what AutoConfig and the model built from it make of that.
"""

import json
from pathlib import Path

import torch
import transformers
from transformers import AutoConfig, AutoModelForImageTextToText

from make_families import reading

VISION_FIELDS = (
    "model_type hidden_size intermediate_size num_hidden_layers num_attention_heads image_size patch_size hidden_act "
    "layer_norm_eps"
).split()
CLIP_LARGE_336 = {
    "hidden_size": 1024,
    "image_size": 336,
    "intermediate_size": 4096,
    "model_type": "clip_vision_model",
    "num_attention_heads": 16,
    "num_hidden_layers": 24,
    "patch_size": 14,
    "projection_dim": 768,
    "vocab_size": 32000,
}
SIGLIP_384 = {
    "hidden_size": 1152,
    "image_size": 384,
    "intermediate_size": 4304,
    "model_type": "siglip_vision_model",
    "num_attention_heads": 16,
    "num_hidden_layers": 26,
    "patch_size": 14,
    "vision_use_head": False,
}
LLAVA = {
    "architectures": ["LlavaForConditionalGeneration"],
    "ignore_index": -100,
    "image_token_index": 32000,
    "model_type": "llava",
    "pad_token_id": 32001,
    "projector_hidden_act": "gelu",
    "torch_dtype": "float16",
    "vision_config": CLIP_LARGE_336,
    "vision_feature_layer": -2,
    "vision_feature_select_strategy": "default",
}
VICUNA = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "rms_norm_eps": 1e-5, "torch_dtype": "float16"}
VICUNA |= {"max_position_embeddings": 4096, "vocab_size": 32064}
CASES = {
    "llava-hf/llava-1.5-7b-hf": LLAVA | {"text_config": VICUNA, "vocab_size": 32064},
    "llava-hf/llava-1.5-13b-hf": LLAVA
    | {
        "text_config": VICUNA
        | {
            "hidden_size": 5120,
            "intermediate_size": 13824,
            "num_attention_heads": 40,
            "num_hidden_layers": 40,
            "num_key_value_heads": 40,
        },
        "vocab_size": 32064,
    },
    "llava-hf/bakLlava-v1-hf": LLAVA
    | {
        "text_config": {
            "architectures": ["MistralForCausalLM"],
            "intermediate_size": 14336,
            "max_position_embeddings": 32768,
            "model_type": "mistral",
            "num_key_value_heads": 8,
            "rms_norm_eps": 1e-05,
            "sliding_window": 4096,
            "torch_dtype": "bfloat16",
            "vocab_size": 32064,
        },
        "vocab_size": 32064,
    },
    "bczhou/tiny-llava-v1-hf": LLAVA
    | {
        "text_config": {
            "architectures": ["LlamaForCausalLM"],
            "hidden_size": 2048,
            "intermediate_size": 5632,
            "model_type": "llama",
            "num_hidden_layers": 22,
            "num_key_value_heads": 4,
            "rms_norm_eps": 1e-05,
            "torch_dtype": "bfloat16",
            "vocab_size": 32064,
        },
    },
    "xtuner/llava-llama-3-8b-v1_1-transformers": LLAVA
    | {
        "image_token_index": 128257,
        "pad_token_id": 128258,
        "text_config": {
            "architectures": ["LlamaForCausalLM"],
            "bos_token_id": 128000,
            "eos_token_id": 128001,
            "intermediate_size": 14336,
            "max_position_embeddings": 8192,
            "model_type": "llama",
            "num_key_value_heads": 8,
            "rms_norm_eps": 1e-05,
            "rope_theta": 500000.0,
            "torch_dtype": "float16",
            "vocab_size": 128320,
        },
    },
    "CLIP and Qwen2-0.5B": LLAVA
    | {
        "image_token_index": 151646,
        "text_config": {
            "architectures": ["Qwen2ForCausalLM"],
            "bos_token_id": 151643,
            "eos_token_id": 151645,
            "hidden_size": 896,
            "intermediate_size": 4864,
            "max_position_embeddings": 32768,
            "max_window_layers": 24,
            "model_type": "qwen2",
            "num_attention_heads": 14,
            "num_hidden_layers": 24,
            "num_key_value_heads": 2,
            "rope_theta": 1000000.0,
            "sliding_window": 32768,
            "tie_word_embeddings": True,
            "use_sliding_window": False,
            "vocab_size": 152000,
        },
    },
    "llava-hf/vip-llava-7b-hf": {
        key: value
        for key, value in LLAVA.items()
        if key not in ("vision_feature_layer", "vision_feature_select_strategy")
    }
    | {
        "architectures": ["VipLlavaForConditionalGeneration"],
        "model_type": "vipllava",
        "projector_layernorm_eps": 1e-05,
        "text_config": VICUNA,
        "vision_feature_layers": [-2, -5, -8, -11, 6],
        "vocab_size": 32064,
    },
    "a vip-llava of nothing but its type": {"model_type": "vipllava"},
    "llava-hf/llava-interleave-qwen-0.5b-hf": {key: value for key, value in LLAVA.items() if key != "pad_token_id"}
    | {
        "image_token_index": 151646,
        "text_config": {
            "architectures": ["Qwen2ForCausalLM"],
            "bos_token_id": 151643,
            "eos_token_id": 151645,
            "hidden_size": 1024,
            "intermediate_size": 2816,
            "max_window_layers": 21,
            "model_type": "qwen2",
            "num_attention_heads": 16,
            "num_hidden_layers": 24,
            "num_key_value_heads": 16,
            "rope_theta": 1000000.0,
            "sliding_window": 32768,
            "tie_word_embeddings": True,
            "torch_dtype": "bfloat16",
            "vocab_size": 152000,
        },
        "vision_config": SIGLIP_384,
        "vision_feature_layer": -1,
        "vision_feature_select_strategy": "full",
    },
    "a llava whose SigLIP is nothing but its type": LLAVA
    | {
        "vision_config": {"model_type": "siglip_vision_model"},
        "text_config": VICUNA,
        "vision_feature_select_strategy": "full",
    },
}


def read(given):
    config = AutoConfig.for_model(**json.loads(json.dumps(given)))
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(config, attn_implementation="eager")
    vision = {field: getattr(config.vision_config, field) for field in VISION_FIELDS}
    layers = config.vision_feature_layers if config.model_type == "vipllava" else config.vision_feature_layer
    layers = [layers] if isinstance(layers, int) else layers
    names = dict(model.model.multi_modal_projector.named_parameters())
    projector = {
        "kind": "mlp2x" if "linear_2.weight" in names else "linear",
        "inner": names["linear_1.weight"].shape[1],
        "out": names["linear_1.weight"].shape[0],
        "hidden_act": config.projector_hidden_act,
        "bias": "linear_1.bias" in names,
    }
    if "projector_layernorm.weight" in names:
        projector["layer_norm_eps"] = config.projector_layernorm_eps
    text = reading(config.text_config.to_dict())
    text["tie_word_embeddings"] |= config.tie_word_embeddings
    return {
        "vision": vision,
        "text": text,
        "projector": projector,
        "image_token_index": config.image_token_index,
        "vision_feature_layer": [i % (vision["num_hidden_layers"] + 1) for i in layers],
        "vision_feature_select_strategy": getattr(config, "vision_feature_select_strategy", "default"),
    }


if __name__ == "__main__":
    transformers.logging.set_verbosity_error()
    made = {
        "script": "test/golden/make_architectures.py",
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
    cases = [{"name": name, "config": config, "read": read(config)} for name, config in CASES.items()]
    lines = ",\n".join(json.dumps(case) for case in cases)
    text = f'{{"made_with": {json.dumps(made)},\n"cases": [\n{lines}\n]}}\n'
    (Path(__file__).parent / "architectures.json").write_text(text)
    print(len(cases), "cases")
