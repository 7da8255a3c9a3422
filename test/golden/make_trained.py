"""Makes trained.safetensors: the trained systems of the field on llava-v5keys, in float64, with PyTorch's derivatives.

    python test/golden/make_trained.py

Our own re-derivation from the papers and the headers of src/compress/trained; the tower's and the decoder's layers are
transformers' own. Weights are random, under each system's own names after `SYSTEM.`; the projector and the decoder are the
model's. Of the two stored pictures and prompts each runs alone. Stored of each system are its tokens (of DyVTE z), the
logits of the last position, a cross-entropy and some derivatives of it.
"""

import json
import math
import platform
from pathlib import Path

import safetensors
import torch
import torch.nn.functional as F
import transformers
from safetensors.torch import load_file, save_file
from transformers import LlavaForConditionalGeneration

HERE = Path(__file__).parent
FOLDER = HERE / "llava-v5keys"
VERSIONS = {
    "script": "test/golden/make_trained.py",
    "python": platform.python_version(),
    "torch": torch.__version__,
    "transformers": transformers.__version__,
    "safetensors": safetensors.__version__,
    "seed": 5,
}
torch.manual_seed(VERSIONS["seed"])
model = LlavaForConditionalGeneration.from_pretrained(FOLDER, attn_implementation="eager").double().eval()
for parameter in model.parameters():
    parameter.requires_grad_(False)
tower, decoder = model.model.vision_tower, model.model.language_model
vision = tower.vision_model if hasattr(tower, "vision_model") else tower
stored = load_file(FOLDER / "expected.safetensors")
ids = stored["input_ids"].long()
pixels = stored["pixel_values"].double()
IMAGE = model.config.image_token_index
B, D, E = len(ids), vision.config.hidden_size, decoder.config.hidden_size
out = {}


def random(system, **shapes):
    """Weights of a system, which learn; gains are near 1."""
    made = {}
    for name, shape in shapes.items():
        name = name.replace("__", ".")
        scale = 1 / math.sqrt(shape[-1]) if len(shape) > 1 and not name.startswith("tokens") else 0.3
        value = (torch.randn(shape) * scale + (1 if "norm" in name and name.endswith("weight") else 0)).float()
        out[f"{system}.{name}"] = value
        made[name] = value.double().requires_grad_()
    return made


def scale(system):
    """Of the tower's channels; it does not learn."""
    out[f"{system}.scale.mean"] = torch.randn(D).float()
    out[f"{system}.scale.deviation"] = torch.rand(D).float() + 0.5
    mean, deviation = out[f"{system}.scale.mean"].double(), out[f"{system}.scale.deviation"].double()
    return lambda x: (x - mean) / deviation


def layer_norm(w, name, x):
    return F.layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"], 1e-5)


def dense(w, name, x):
    return F.linear(x, w[f"{name}.weight"], w.get(f"{name}.bias"))


def read(tokens, b):
    """Logits [V] of the last position of prompt b with these visual tokens [U,D], positions contiguous."""
    image = ids[b] == IMAGE
    first = int(image.nonzero()[0])
    text = decoder.embed_tokens(ids[b][~image])
    visual = model.model.multi_modal_projector(tokens)
    x = torch.cat([text[:first], visual, text[first:]])[None]
    return model.lm_head(decoder(inputs_embeds=x, use_cache=False).last_hidden_state)[0, -1]


def keep(system, **tensors):
    for name, value in tensors.items():
        out[f"{system}.expected.{name}"] = value.detach().float().contiguous()


targets = torch.tensor([7, 11])
hidden = vision(pixels, output_hidden_states=True).hidden_states  # [B,N,D] each; -2 is selected
DEPTH = len(hidden) - 2
features = hidden[DEPTH][:, 1:]
P = features.shape[1]

# ---- DyVTE: the gate of layer 0 ------------------------------------------------
M = E // 2
w = random("dyvte", **{f"gates__{l}__w{i}__weight": s for l in (0, 1) for i, s in ((1, (M, 2 * E)), (2, (2, M)))})
after = stored["decoder.hidden.01"].double()  # the output of layer 0
xs = []
for b in range(B):
    end = int((ids[b] == IMAGE).nonzero()[-1]) + 1
    behind = after[b, end:]
    assert len(behind) >= 2
    xs.append(torch.cat([behind[:-1].mean(0), behind[-1]]))
x = torch.stack(xs)
z = F.linear(F.gelu(F.linear(x, w["gates.0.w1.weight"])), w["gates.0.w2.weight"])
loss = F.cross_entropy(z, torch.tensor([1, 0]))
loss.backward()
keep("dyvte", x=x, z=z, loss=loss[None], w1=w["gates.0.w1.weight"].grad, w2=w["gates.0.w2.weight"].grad)

# ---- VisToG, 13 groups -----------------------------------------------------------
U = 13
names = ("norm_tokens", "norm_patches", "norm_mlp")
shapes = {"tokens__13": (13, D), "tokens__25": (25, D)}
shapes |= {f"grouping__{n}__{k}": (D,) for n in names for k in ("weight", "bias")}
shapes |= {f"grouping__{n}__weight": (D, D) for n in ("query", "key", "value", "out")}
shapes |= {"grouping__out__bias": (D,), "grouping__fc1__weight": (2 * D, D), "grouping__fc1__bias": (2 * D,)}
shapes |= {"grouping__fc2__weight": (D, 2 * D), "grouping__fc2__bias": (D,)}
w = random("vistog", **shapes)
standard = scale("vistog")


def beside(tokens):
    """Semantic tokens behind the tower's own in one sequence, under the isolated mask."""
    n = hidden[0].shape[1]
    norm = vision.pre_layrnorm(tokens)[None].expand(B, -1, -1)
    x = torch.cat([hidden[0], norm], 1)
    mask = torch.zeros(1, 1, n + U, n + U, dtype=x.dtype)
    mask[:, :, :n, n:] = -1e9
    for layer in vision.encoder.layers[:DEPTH]:
        x = layer(x, attention_mask=mask)
        x = x[0] if isinstance(x, tuple) else x
    torch.testing.assert_close(x[:, :n], hidden[DEPTH])
    return standard(x[:, n:])


def group(noise):
    g = beside(w["tokens.13"])
    q = dense(w, "grouping.query", layer_norm(w, "grouping.norm_tokens", g))
    normed = layer_norm(w, "grouping.norm_patches", standard(features))
    z = q @ dense(w, "grouping.key", normed).transpose(1, 2) / math.sqrt(D)
    ranked = (z + noise).sort(1, descending=True).values
    assert float((ranked[:, 0] - ranked[:, 1]).detach().min()) > 1e-3, "a near-tie"
    y = (z + noise).softmax(1)
    hard = F.one_hot(y.argmax(1), U).transpose(1, 2).double()
    a = hard - y.detach() + y  # straight-through
    weights = a / hard.sum(2, keepdim=True).clamp(min=1)
    t = g + dense(w, "grouping.out", weights @ dense(w, "grouping.value", normed))
    t = t + dense(w, "grouping.fc2", F.gelu(dense(w, "grouping.fc1", layer_norm(w, "grouping.norm_mlp", t))))
    return g, z, weights, t


g, z, weights, tokens = group(0)
logits = torch.stack([read(tokens[b], b) for b in range(B)])
keep("vistog", g=g, z=z, W=weights, tokens=tokens, logits=logits)
noise = -torch.log(-torch.log(torch.rand(B, U, P).double()))
_, _, weights, tokens = group(noise)
loss = F.cross_entropy(torch.stack([read(tokens[b], b) for b in range(B)]), targets)
loss.backward()
keep("vistog", noise=noise, loss=loss[None], **{f"d.{n}": w[n].grad for n in ("tokens.13", "grouping.query.weight", "grouping.value.weight")})  # fmt: skip

# ---- SeTok, 5 clusters -----------------------------------------------------------
U, K, GRID = 5, 5, int(math.sqrt(P))
shapes = {}
for e in ("inner", "inter"):
    shapes |= {f"merger__{e}__{n}__{k}": (D,) for n in ("norm1", "norm2") for k in ("weight", "bias")}
    for i in (0, 1):
        shapes |= {f"merger__{e}__attention__{i}__qkv__weight": (3 * D, D), f"merger__{e}__attention__{i}__qkv__bias": (3 * D,)}
        shapes |= {f"merger__{e}__attention__{i}__proj__weight": (D, D), f"merger__{e}__attention__{i}__proj__bias": (D,)}
    shapes |= {f"merger__{e}__fc1__weight": (2 * D, D), f"merger__{e}__fc1__bias": (2 * D,)}
    shapes |= {f"merger__{e}__fc2__weight": (D, 2 * D), f"merger__{e}__fc2__bias": (D,)}
shapes |= {"merger__out__weight": (D, D), "merger__out__bias": (D,)}
w = random("setok", **shapes)
standard = scale("setok")


def positions():
    channels = math.ceil(D / 4) * 2
    frequency = 10000 ** (-torch.arange(0, channels, 2).double() / channels)
    wave = lambda at: torch.stack([(at[:, None] * frequency).sin(), (at[:, None] * frequency).cos()], -1).flatten(1)
    place = torch.arange(P).double()
    return torch.cat([wave(place.div(GRID, rounding_mode="floor")), wave(place % GRID)], 1)[:, :D]


def encode(e, x):
    """[n,D]"""
    for i in (0, 1):
        qkv = dense(w, f"merger.{e}.attention.{i}.qkv", layer_norm(w, f"merger.{e}.norm1", x))
        q, k, v = qkv.reshape(len(x), 3, 2, D // 2).permute(1, 2, 0, 3)
        mixed = (q @ k.transpose(1, 2) / math.sqrt(D // 2)).softmax(-1) @ v
        x = x + dense(w, f"merger.{e}.attention.{i}.proj", mixed.transpose(0, 1).reshape(len(x), D))
    return x + dense(w, f"merger.{e}.fc2", F.gelu(dense(w, f"merger.{e}.fc1", layer_norm(w, f"merger.{e}.norm2", x))))


def cluster(x):
    distance = torch.cdist(x, x) / math.sqrt(D)
    density = (-(distance**2).topk(K, largest=False).values.mean(1)).exp()
    gamma = torch.stack(
        [density[i] * (distance[i][density > density[i]].min() if (density > density[i]).any() else distance.max()) for i in range(P)]
    )
    ranked = gamma.sort(descending=True).values
    assert float((ranked[U - 1] / ranked[U]).detach()) > 1.001, "a near-tie"
    centres = gamma.topk(U).indices.sort().values
    nearest = distance[:, centres].sort(1).values
    label = distance[:, centres].argmin(1)
    label[centres] = torch.arange(U)
    rest = torch.ones(P, dtype=bool).index_fill(0, centres, False)
    assert float((nearest[rest, 1] - nearest[rest, 0]).min()) > 1e-4, "a near-tie"
    return label, gamma


all_tokens, labels = [], []
for b in range(B):
    x = standard(features[b]) + positions()
    label, gamma = cluster(x)
    labels.append(label)
    pooled = torch.stack([encode("inner", x[label == u]).mean(0) for u in range(U)])
    all_tokens.append(dense(w, "merger.out", encode("inter", pooled)))
logits = torch.stack([read(all_tokens[b], b) for b in range(B)])
loss = F.cross_entropy(logits, targets)
loss.backward()
keep("setok", x=standard(features) + positions(), tokens=torch.stack(all_tokens), logits=logits, loss=loss[None])
keep("setok", **{f"d.{n}": w[n].grad for n in ("merger.inner.attention.0.qkv.weight", "merger.inter.norm1.weight", "merger.out.weight")})
out["setok.expected.labels"] = torch.stack(labels)

save_file(out, HERE / "trained.safetensors", metadata={"made_with": json.dumps(VERSIONS)})
