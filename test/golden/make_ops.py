"""Makes ops.safetensors: single operations, each with its inputs, named `op.case.tensor`.

    python test/golden/make_ops.py

Inputs are float32 numbers, the arithmetic is float64, the results are stored as float32. Two exceptions are
Hugging Face's own float32: the rotary tables and the sampling probabilities.
"""

import json
import platform
from pathlib import Path

import safetensors
import torch
import torch.nn.functional as F
import transformers
from safetensors.torch import save_file
from transformers import LlamaConfig
from transformers.activations import ACT2FN
from transformers.generation.logits_process import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper
from transformers.models.llama.modeling_llama import LlamaRMSNorm, LlamaRotaryEmbedding, apply_rotary_pos_emb

SEED = 20
HERE = Path(__file__).parent
VERSIONS = {
    "script": "test/golden/make_ops.py",
    "seed": SEED,
    "python": platform.python_version(),
    "torch": torch.__version__,
    "transformers": transformers.__version__,
    "safetensors": safetensors.__version__,
}
generator = torch.Generator().manual_seed(SEED)
out = {}


def draw(*shape, scale=1.0):
    return (torch.randn(shape, generator=generator) * scale).double()


def put(name, **tensors):
    for key, value in tensors.items():
        out[f"{name}.{key}"] = value.float() if value.is_floating_point() else value.long()


# y = x Wᵀ + b, with W [out,in] as checkpoints store it
x, weight, bias = draw(2, 3, 5), draw(4, 5), draw(4)
put("linear", input=x, weight=weight, bias=bias, output=F.linear(x, weight, bias))

x, weight, bias = 3 * draw(2, 3, 6) + 1, draw(6), draw(6)
for case, eps in (
    ("small-eps", 1e-5),
    ("large-eps", 1e-1),
):  # the large one shows where eps stands: inside the root
    tensors = {"input": x, "weight": weight, "eps": torch.tensor([eps])}
    put(f"layer_norm.{case}", **tensors, bias=bias, output=F.layer_norm(x, (6,), weight, bias, eps))
    put(f"rms_norm.{case}", **tensors, output=F.rms_norm(x, (6,), weight, eps))
    theirs = LlamaRMSNorm(6, eps)
    theirs.weight.data = weight.float()
    torch.testing.assert_close(theirs(x.float()), out[f"rms_norm.{case}.output"])

x = torch.tensor([-30.0, -6, -3, -1.5, -1, -0.5, -1e-3, 0, 1e-3, 0.5, 1, 1.5, 3, 6, 30]).double()
for name in ("gelu", "gelu_pytorch_tanh", "quick_gelu", "silu"):
    put(name, input=x, output=ACT2FN[name](x))

x = torch.cat(
    [draw(2, 7, scale=3), draw(1, 7) + 500, torch.zeros(1, 7).double()]
)  # 500: exp overflows unless shifted
put("softmax", input=x, output=x.softmax(-1))

# Causal attention with grouped keys and values: 4 query heads, 2 key heads; head h reads key head h // 2.
# In the second case three new queries stand at the end of seven keys, as with a cache.
for name, queries, keys in (("prefill", 5, 5), ("cached", 3, 7)):
    q, k, v = draw(2, 4, queries, 6, scale=1.5), draw(2, 2, keys, 6, scale=1.5), draw(2, 2, keys, 6)
    kk, vv = k.repeat_interleave(2, 1), v.repeat_interleave(2, 1)
    mask = torch.ones(queries, keys, dtype=torch.bool).tril(keys - queries)
    weights = (q @ kk.mT / 6**0.5).masked_fill(~mask, -torch.inf).softmax(-1)
    torch.testing.assert_close(weights @ vv, F.scaled_dot_product_attention(q, k, v, mask, enable_gqa=True))
    put(f"causal_attention.{name}", query=q, key=k, value=v, weights=weights, output=weights @ vv)

# Rotary tables [positions, head_dim 8] as rotate-half wants them: the second half repeats the first.
# Wavelengths at theta 10000: 6.3, 63, 628, 6283. llama3 with 64 original positions keeps the first (below
# 64/4), interpolates the second (up to 64/1) and divides the others.
positions = torch.tensor([[0, 1, 2, 3, 7, 31, 63, 64, 100, 1000]])
put("rope", positions=positions[0])
scalings = {
    "default": {"rope_type": "default", "rope_theta": 10000.0},
    "theta": {"rope_type": "default", "rope_theta": 500000.0},
    "linear": {"rope_type": "linear", "rope_theta": 10000.0, "factor": 2.5},
    "llama3": {
        "rope_type": "llama3",
        "rope_theta": 10000.0,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    },
}
for name, scaling in scalings.items():
    config = LlamaConfig(
        hidden_size=16, num_attention_heads=2, rope_parameters=scaling, max_position_embeddings=2048
    )
    rotary = LlamaRotaryEmbedding(config)
    cos, sin = rotary(torch.zeros(1), positions)
    put(f"rope.{name}", inv_freq=rotary.inv_freq, cos=cos[0], sin=sin[0])

# Rotate-half: pairs are (i, i + head_dim/2). One batch, 3 query heads, 1 key head, the 10 positions above.
q, k = draw(1, 3, 10, 8), draw(1, 1, 10, 8)
cos, sin = out["rope.default.cos"].double(), out["rope.default.sin"].double()
q_out, k_out = apply_rotary_pos_emb(q, k, cos[None], sin[None])
put("rotate_half", query=q, key=k, query_output=q_out, key_output=k_out)  # with rope.default's tables

# Patches of 3 × 3, no bias: [B,3,6,9] and [5,3,3,3] -> [B,P,5], P = 2 rows of 3, raster order
x, weight = draw(2, 3, 6, 9), draw(5, 3, 3, 3)
put("patch_embedding", input=x, weight=weight, output=F.conv2d(x, weight, stride=3).flatten(2).mT)

# What is left to draw from after temperature, then top-k, then top-p: 0 exactly where a token is cut.
# settings = [temperature, top_k, top_p], top_k 0 and top_p 1 for "off".
logits = draw(3, 12, scale=2)
put("sampling", logits=logits)
settings = [
    (1, 0, 1),
    (0.7, 0, 1),
    (2, 0, 1),
    (1, 1, 1),
    (1, 4, 1),
    (1, 0, 0.5),
    (1, 0, 0.95),
    (0.7, 5, 0.8),
    (1.5, 8, 0.6),
    (1, 0, 1e-6),
]
for i, (temperature, top_k, top_p) in enumerate(settings):
    left = logits.float()
    if temperature != 1:
        left = TemperatureLogitsWarper(float(temperature))(None, left)
    if top_k > 0:
        left = TopKLogitsWarper(top_k)(None, left)
    if top_p < 1:
        cumulative = left.double().softmax(-1).sort(-1, descending=True).values.cumsum(-1)
        assert (cumulative - top_p).abs().min() > 1e-4 or top_p < 1e-3, "top_p falls on a border"
        left = TopPLogitsWarper(top_p)(None, left)
    chosen = torch.tensor([temperature, top_k, top_p], dtype=torch.float64)
    put(f"sampling.{i:02d}", settings=chosen, probabilities=left.softmax(-1))

assert all(v.isfinite().all() for v in out.values())
out = {name: value.contiguous().clone() for name, value in out.items()}
save_file(out, HERE / "ops.safetensors", {"made_with": json.dumps(VERSIONS)})
print(VERSIONS)
for name in sorted(out):
    print(name, list(out[name].shape))
