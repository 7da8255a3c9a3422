"""Writes families.json: what transformers takes the config.json of a decoder for.

    python test/golden/make_families.py

A case is a config and what is made of it: the sizes, RoPE, which projections have a bias (looked up in the model
itself) and the sliding window of the layers that have one; or null where transformers refuses it.
"""

import json
from pathlib import Path

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM

FIELDS = (
    "model_type vocab_size hidden_size intermediate_size num_hidden_layers num_attention_heads num_key_value_heads "
    "hidden_act max_position_embeddings rms_norm_eps tie_word_embeddings bos_token_id eos_token_id"
).split()
SMALL = {"num_hidden_layers": 3, "hidden_size": 32, "num_attention_heads": 4, "num_key_value_heads": 2}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
SLIDING, FULL = "sliding_attention", "full_attention"
CASES = {
    "llama": [
        {},
        SMALL | {"num_key_value_heads": None},
        SMALL | {"attention_bias": True},
        SMALL | {"mlp_bias": True, "tie_word_embeddings": True},
        SMALL | {"sliding_window": 8, "use_sliding_window": True},
    ],
    "mistral": [
        {},
        SMALL,
        SMALL | {"attention_bias": True, "mlp_bias": True},
        SMALL | {"sliding_window": None},
        SMALL | {"sliding_window": 8, "head_dim": 6},
        SMALL | {"sliding_window": 8, "use_sliding_window": False},
    ],
    "qwen2": [
        {},
        SMALL | {"num_key_value_heads": None},
        SMALL | {"attention_bias": False, "mlp_bias": True, "bos_token_id": 5, "eos_token_id": [5, 6]},
        SMALL | {"sliding_window": 8},
        SMALL | {"use_sliding_window": True},
        SMALL | {"use_sliding_window": True, "max_window_layers": 2},
        SMALL | {"use_sliding_window": True, "max_window_layers": 3},
        SMALL | {"use_sliding_window": True, "max_window_layers": 0, "sliding_window": 8},
        SMALL | {"use_sliding_window": True, "max_window_layers": 0, "sliding_window": None},
        SMALL | {"use_sliding_window": True, "sliding_window": 8, "layer_types": [FULL, SLIDING, FULL]},
        SMALL | {"use_sliding_window": True, "max_window_layers": 0, "layer_types": [FULL] * 3},
        SMALL | {"sliding_window": 8, "layer_types": [FULL] * 3},
        SMALL | {"sliding_window": 8, "layer_types": [FULL, FULL, SLIDING]},
        SMALL | {"layer_types": [FULL] * 2},
        SMALL | {"layer_types": [FULL, FULL, "diagonal_attention"]},
    ],
}
ROPES = [
    {"rope_theta": 5000.0},
    {"rope_theta": 5000.0, "rope_scaling": {"type": "linear", "factor": 2.0}},
    {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 5000.0}},
    {"rope_parameters": {"rope_type": "default"}, "rope_theta": 7000.0},
    {"rope_parameters": LLAMA3},
    {"rope_scaling": LLAMA3, "rope_parameters": {"rope_type": "default", "rope_theta": 5000.0}},
    {"rope_scaling": {}, "rope_parameters": {"rope_type": "default", "rope_theta": 5000.0}},
]


def reading(given):
    config = AutoConfig.for_model(**given)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    names = dict(model.named_parameters())
    layer = "model.layers.0."
    bias = {part: f"{layer}self_attn.{part}_proj.bias" in names for part in "qkvo"}
    assert bias["q"] == bias["k"] == bias["v"]
    read = {field: getattr(config, field) for field in FIELDS}
    eos = read["eos_token_id"]
    read["eos_token_id"] = [] if eos is None else eos if isinstance(eos, list) else [eos]
    keys = names[f"{layer}self_attn.k_proj.weight"].shape[0]
    rope = {key: value for key, value in config.rope_parameters.items() if key != "type"}
    # LLaMA's code knows no window; Qwen2's asks the kind of each layer, Mistral's has one for all.
    window = None if config.model_type == "llama" else config.sliding_window
    if config.model_type == "qwen2":
        if SLIDING not in config.layer_types:
            window = None
        elif window is None:
            raise ValueError("a window of no width")  # the model fails when it runs
    return read | {
        "head_dim": keys // config.num_key_value_heads,
        "rope_theta": rope.pop("rope_theta"),
        "rope_scaling": rope,
        "bias": {"qkv": bias["q"], "o": bias["o"], "mlp": f"{layer}mlp.up_proj.bias" in names},
        "sliding_window": window,
    }


def attempt(given):
    try:
        return reading(given)
    except Exception as error:  # whatever its checks raise
        print(f"refused: {given}: {str(error)[:100]}")
        return None


if __name__ == "__main__":
    transformers.logging.set_verbosity_error()
    cases = []
    for family, configs in CASES.items():
        for config in configs + [SMALL | rope for rope in ROPES]:
            given = {"model_type": family} | config
            cases.append({"config": given, "read": attempt(given)})
    made = {
        "script": "test/golden/make_families.py",
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
    lines = ",\n".join(json.dumps(case) for case in cases)
    text = f'{{"made_with": {json.dumps(made)},\n"cases": [\n{lines}\n]}}\n'
    (Path(__file__).parent / "families.json").write_text(text)
    print(len(cases), "cases")
