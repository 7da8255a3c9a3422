"""Makes field-decoder.safetensors: methods that cut between the decoder's layers, with transformers' own modules.

    python test/golden/make_field_decoder.py

The decoder of llava-v5keys has two layers; here they run three times over, 0 1 0 1 0 1, so that there is a depth to
cut in. Each item runs alone, in float64 (softmax, RMSNorm and rotary tables float32, as transformers has them).
Stored for each case: `CASE.positions.LL` [B,T'], of the tokens that layer LL runs on, and `CASE.logits` [B,V] of the
last one. Refuses a near-tie, which float32 could decide otherwise.
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
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb, repeat_kv

HERE = Path(__file__).parent
FOLDER = HERE / "llava-v5keys"
REPEATS = 3
VERSIONS = {
    "script": "test/golden/make_field_decoder.py",
    "python": platform.python_version(),
    "torch": torch.__version__,
    "transformers": transformers.__version__,
    "safetensors": safetensors.__version__,
}
model = LlavaForConditionalGeneration.from_pretrained(FOLDER, attn_implementation="eager").double().eval()
decoder = model.model.language_model
layers = list(decoder.layers) * REPEATS
L, H = len(layers), decoder.config.num_attention_heads
stored = load_file(FOLDER / "expected.safetensors")
embeddings = stored["decoder.hidden.00"].double()  # [B,T,E]
is_image = stored["input_ids"] == model.config.image_token_index  # [B,T]
P = int(is_image[0].sum())
out = {}


def take_best(scores, n):
    """Ascending indices of the n best of [P]; a near-tie at the edge is refused."""
    if n == 0:
        return torch.empty(0, dtype=torch.long)
    ranked = scores.sort(descending=True).values
    if n < len(scores):
        assert (ranked[n - 1] - ranked[n]) / ranked[n - 1].abs() > 2e-4, "a near-tie"
    return scores.topk(n).indices.sort().values


def attention_inputs(x, positions, extra=None):
    rope = decoder.rotary_emb(x, positions[None])
    t = x.shape[1]
    mask = torch.full((t, t), -1e9, dtype=x.dtype).triu(1)[None, None]
    return {"position_embeddings": rope, "attention_mask": mask if extra is None else mask + extra}


def attend(l, x, positions):
    """The attention [H,T,T] of a layer over a state."""
    layer = layers[l]
    return layer.self_attn(layer.input_layernorm(x), **attention_inputs(x, positions))[1][0]


def run(case, cut, limit=lambda l, positions, image: (None, None), attention=None):
    """cut(l, x, positions, image, before) -> x, positions, image; limit -> extra mask [1,H|1,T,T], neurons [1,T,M];
    attention(l, x, positions, image) -> what takes the place of transformers' own."""
    logits, traced = [], [[] for _ in range(L)]
    for b in range(len(embeddings)):
        x, positions, image = embeddings[b : b + 1], torch.arange(embeddings.shape[1]), is_image[b]
        before = None
        for l in range(L):
            x, positions, image = cut(l, x, positions, image, before)
            traced[l].append(positions)
            extra, neurons = limit(l, positions, image)
            layer = layers[l]
            inputs = attention_inputs(x, positions, extra)
            if attention is None:
                context, before = layer.self_attn(layer.input_layernorm(x), **inputs)
            else:
                context, before = attention(l, layer.input_layernorm(x), positions, image)
            before = before[0]
            middle = x + context
            y, mlp = layer.post_attention_layernorm(middle), layer.mlp
            gated = mlp.act_fn(mlp.gate_proj(y)) * mlp.up_proj(y)
            after = middle + mlp.down_proj(gated if neurons is None else gated * neurons)
            if extra is None and neurons is None and attention is None:
                theirs = layer(x, **inputs)
                torch.testing.assert_close(after, theirs[0] if isinstance(theirs, tuple) else theirs)
            x = after
        logits.append(model.lm_head(decoder.norm(x))[0, -1])
    for l, rows in enumerate(traced):
        out[f"{case}.positions.{l:02d}"] = torch.stack(rows).to(torch.int32)
    out[f"{case}.logits"] = torch.stack(logits).float()


def keep(x, positions, image, kept):
    """All text, and the image tokens with these numbers among themselves."""
    places = image.nonzero()[:, 0]
    stays = ~image
    stays[places[kept]] = True
    return x[:, stays], positions[stays], image[stays]


# ---- the methods --------------------------------------------------------------


def fastv(k, n, rows):
    def cut(l, x, positions, image, before):
        if l != k:
            return x, positions, image
        given = before.mean(0)  # [T,T]
        scores = (given[-1] if rows == "last" else given.mean(0))[image]
        return keep(x, positions, image, take_best(scores, n))

    return cut


def vtw(k):
    def cut(l, x, positions, image, before):
        return keep(x, positions, image, []) if l == k else (x, positions, image)

    return cut


def pyramiddrop(counts):
    def cut(l, x, positions, image, before):
        if l not in counts:
            return x, positions, image
        scores = attend(l, x, positions).mean(0)[-1][image]
        return keep(x, positions, image, take_best(scores, counts[l]))

    return cut


def llavolta(k, stride):
    def cut(l, x, positions, image, before):
        if l != k:
            return x, positions, image
        first, last = image.nonzero()[[0, -1], 0]
        pooled = F.avg_pool1d(x[:, first : last + 1].mT, stride).mT
        places = F.avg_pool1d(positions[None, None, first : last + 1].double(), stride)[0, 0].long()
        return (
            torch.cat([x[:, :first], pooled, x[:, last + 1 :]], 1),
            torch.cat([positions[:first], places, positions[last + 1 :]]),
            torch.cat([image[:first], image.new_ones(len(places)), image[last + 1 :]]),
        )

    return cut


def cluster(x, c):
    """DPC-KNN over [n,E]: for every token the index of its centre."""
    distance = torch.cdist(x[None], x[None])[0] / x.shape[1] ** 0.5
    nearest = distance.topk(c, largest=False).values
    density = (-(nearest**2).mean(1)).exp()
    n = torch.arange(len(x))
    denser = (density[None] > density[:, None]) | ((density[None] == density[:, None]) & (n[None] < n[:, None]))
    height = torch.where(denser, distance, distance.max()).amin(1)
    # One cluster: its one nearest token is each token's own, all are equally dense, the first is the centre.
    centres = torch.tensor([0]) if c == 1 else take_best(height * density, c)
    owner = centres[distance[:, centres].argmin(1)]
    owner[centres] = centres
    return owner


def sparsevlm(plan):
    raters = []

    def cut(l, x, positions, image, before):
        if l == 0:
            last = image.nonzero()[-1, 0]
            text = torch.arange(len(image))[last + 1 :]
            m = (x[0, image] @ x[0, text].T).softmax(1).mean(0)
            assert ((m - m.mean()).abs() / m.mean()).min() > 1e-4, "a near-tie"
            raters[:] = positions[text[m >= m.mean()]].tolist()
        if l not in plan:
            return x, positions, image
        kept_count, pool_count, merged_count = plan[l]
        queries = torch.isin(positions, torch.tensor(raters))
        scores = before.mean(0)[queries].mean(0)[image]
        kept = take_best(scores, kept_count)
        best = take_best(scores, kept_count + pool_count)
        pool = best[~torch.isin(best, kept)]
        places = image.nonzero()[:, 0]
        x, tokens = x.clone(), places[pool]
        owner = cluster(x[0, tokens], merged_count)
        merged = {int(i): x[0, tokens[owner == i]].mean(0) for i in owner.unique()}
        for i, mean in merged.items():
            x[0, tokens[i]] = mean
        chosen = torch.cat([kept, pool[list(merged)]]).sort().values
        return keep(x, positions, image, chosen)

    return cut


def geometric(n, i, of):
    return math.floor(P * (n / P) ** (i / of) + 0.5)


run("full", lambda l, x, positions, image, before: (x, positions, image))
run("fastv.last", fastv(2, 5, "last"))
run("fastv.all", fastv(1, 6, "all"))
run("vtw", vtw(3))
run("pyramiddrop", pyramiddrop({2: geometric(2, 1, 3), 3: geometric(2, 2, 3), 5: 2}))
run("llavolta", llavolta(2, 4))
run("sparsevlm", sparsevlm({1: (5, 3, 1), 3: (3, 1, 1)}))
run("sparsevlm.all", sparsevlm({1: (4, 12, 2), 3: (3, 3, 1)}))

# YOPO's four parts, apart and together
SIDE = math.isqrt(P)
INACTIVE = {(1, 0), (2, 3), (3, 1), (3, 2), (4, 0)}


def whole(l, x, positions, image, before):
    return x, positions, image


def neighbours(window):
    def limit(l, positions, image):
        first = int(image.int().argmax())
        extra = torch.zeros(len(image), len(image), dtype=torch.float64)
        for i in image.nonzero()[:, 0].tolist():
            for j in image.nonzero()[:, 0].tolist():
                (r, c), (s, d) = divmod(i - first, SIDE), divmod(j - first, SIDE)
                if max(abs(r - s), abs(c - d)) > (window - 1) // 2:
                    extra[i, j] = -1e9
        return extra[None, None], None

    return limit


def heads(l, positions, image):
    extra = torch.zeros(H, len(image), len(image), dtype=torch.float64)
    for h in range(H):
        if (l, h) in INACTIVE:
            extra[h][:, image] = -1e9
            extra[h].fill_diagonal_(0)
    return extra[None], None


def narrow(ratio):
    def limit(l, positions, image):
        width = decoder.config.intermediate_size
        neurons = torch.ones(1, len(image), width, dtype=torch.float64)
        neurons[:, image, width // ratio :] = 0
        return None, neurons

    return limit


def together(*limits):
    def limit(l, positions, image):
        extra, neurons = 0, None
        for one in limits:
            e, n = one(l, positions, image)
            extra = extra if e is None else (extra + e).clamp(min=-1e9)
            neurons = neurons if n is None else n
        return extra, neurons

    return limit


run("yopo.cut.window", whole, neighbours(3))
run("yopo.cut.heads", whole, heads)
run("yopo.ffn", whole, narrow(2))
run("yopo.cut", vtw(4), together(neighbours(3), heads, narrow(2)))


def release(case, window, inactive, ratio, last):
    """As the release has it: the attention written out, zeros after the softmax, the window in place of the mask."""

    def attention(l, x, positions, image):
        layer = layers[l].self_attn
        _, t, e = x.shape
        q, k, v = (
            f(x).view(1, t, -1, layer.head_dim).transpose(1, 2) for f in (layer.q_proj, layer.k_proj, layer.v_proj)
        )
        cos, sin = decoder.rotary_emb(x, positions[None])
        q, k = apply_rotary_pos_emb(q, k, cos, sin)
        k, v = (repeat_kv(y, layer.num_key_value_groups) for y in (k, v))
        mask = torch.full((t, t), -1e9, dtype=x.dtype).triu(1)
        if window:
            places = image.nonzero()[:, 0]
            row, column = torch.arange(P) // SIDE, torch.arange(P) % SIDE
            far = torch.maximum((row[:, None] - row).abs(), (column[:, None] - column).abs()) > (window - 1) // 2
            mask[places[0] : places[-1] + 1, places[0] : places[-1] + 1] = torch.where(far, -1e9, 0.0).double()
        p = (q @ k.mT * layer.scaling + mask).softmax(-1, dtype=torch.float32).double()
        active = torch.tensor([(l, h) not in inactive for h in range(H)]).double()
        p[..., image] *= active[None, :, None, None] * (l < last)
        output = (p @ v).transpose(1, 2)  # [1,T,H,C]
        output[:, image] *= active[None, None, :, None]
        return layer.o_proj(output.reshape(1, t, -1)), p

    run(case, whole, narrow(ratio), attention)


release("yopo.window", 3, set(), 1, L)
release("yopo.heads", 0, INACTIVE, 1, L)
release("yopo.layer", 0, set(), 1, 4)
release("yopo", 3, INACTIVE, 2, 4)
for one, other in [("yopo", "full"), ("yopo", "yopo.cut"), ("yopo.layer", "vtw"), ("yopo.heads", "yopo.cut.heads")]:
    assert (out[f"{one}.logits"] - out[f"{other}.logits"]).abs().max() > 1e-3, (one, other)

assert all(v.isfinite().all() for v in out.values())
out = {name: value.contiguous().clone() for name, value in out.items()}
save_file(out, HERE / "field-decoder.safetensors", {"made_with": json.dumps(VERSIONS)})
print(f"{len(out)} tensors, {(HERE / 'field-decoder.safetensors').stat().st_size} bytes")
