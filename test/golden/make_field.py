"""What the other vision-side methods make of the tiny model llava-v5keys, straight from transformers' tensors.

    python test/golden/make_field.py

Writes field.safetensors next to this file. Arithmetic is float64 (transformers' softmax goes through float32), the
methods as their authors released them, but for what the files in src/compress say they do differently.
"""

import json
import platform
from pathlib import Path

import safetensors
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import LlavaForConditionalGeneration

HERE = Path(__file__).parent
FOLDER = HERE / "llava-v5keys"
VERSIONS = {
    "script": "test/golden/make_field.py",
    "python": platform.python_version(),
    "torch": torch.__version__,
    "transformers": transformers.__version__,
    "safetensors": safetensors.__version__,
}
BUDGETS = (3, 6, 11)


def see(model, pixels):
    """Everything the methods look at: features and projection of the selected layer, attentions and keys of all."""
    tower, config = model.model.vision_tower, model.config.vision_config
    keys, heads = {}, config.num_attention_heads

    def catch(layer):
        def hook(_, __, output):
            b, n, d = output.shape
            keys[layer] = output.view(b, n, heads, d // heads).transpose(1, 2)  # [B,H,N,C]

        return hook

    layers = [m for name, m in tower.named_modules() if name.endswith("self_attn.k_proj")]
    hooks = [m.register_forward_hook(catch(i)) for i, m in enumerate(layers)]
    out = tower(pixels, output_hidden_states=True, output_attentions=True)
    for hook in hooks:
        hook.remove()
    features = out.hidden_states[-2]
    return {
        "cls": features[:, :1],
        "features": features[:, 1:],
        "projected": model.model.multi_modal_projector(features[:, 1:]),
        "attention": out.attentions,
        "keys": keys,
        "selected": config.num_hidden_layers - 2,
    }


def unit(x):
    return x / x.norm(dim=-1, keepdim=True)


def cls_rows(seen, layer):
    return seen["attention"][layer][:, :, 0, 1:]  # [B,H,P]


def top(scores, u):
    return scores.topk(u, dim=-1).indices.sort(dim=-1).values


def fopru(seen, u):
    a = seen["attention"][seen["selected"]].mean(1)[:, 1:, 1:]
    received, paid = a.mean(1), a.mean(2)
    wider = received.var(-1, keepdim=True) >= paid.var(-1, keepdim=True)
    scores = torch.where(wider, received, paid)
    side = int(scores.shape[1] ** 0.5)
    out = {"rank.kept": top(scores, u), "scores": scores}
    if u >= side:
        rows = top(scores.view(-1, side, side).sum(-1), u // side)
        out["row.kept"] = (rows[..., None] * side + torch.arange(side)).flatten(1)
    return out


def vispruner(seen, u, share):
    attention = cls_rows(seen, seen["selected"]).mean(1)
    order = attention.argsort(dim=-1, descending=True)
    important = int(u * share)
    kept = []
    for b, row in enumerate(order):
        x = unit(seen["features"][b])
        rest = row[important:]
        while u > important and len(rest) > u - important:
            a, other = rest[::2], rest[1::2]
            scores = (x[a] @ x[other].T).max(dim=-1).values
            stay = scores.argsort(descending=True)[min(8, len(rest) - (u - important)) :]
            rest = torch.cat([a[stay], other])
        rest = rest[: u - important]
        kept.append(torch.cat([row[:important], rest]).sort().values)
    return torch.stack(kept)


def farthest(x, chosen, u):
    """x: unit vectors [P,E]."""
    distance = 1 - x @ x.T
    chosen = list(chosen)
    if not chosen:
        others = distance + 9 * torch.eye(len(x))
        chosen.append(int(others.min(0).values.argmax()))
    while len(chosen) < u:
        least = distance[chosen].min(0).values
        least[chosen] = -1
        chosen.append(int(least.argmax()))
    return torch.tensor(sorted(chosen))


def divprune(seen, u):
    return torch.stack([farthest(unit(x), [], u) for x in seen["projected"]])


def hybrid(seen, u):
    scores = sum(cls_rows(seen, seen["selected"] - i).mean(1) for i in range(3))
    chosen = scores.topk((u + 1) // 2).indices.tolist()
    return torch.stack([farthest(unit(x), row, u) for x, row in zip(seen["projected"], chosen)])


def visionzip(seen, u, c):
    scores = cls_rows(seen, seen["selected"]).sum(1)
    metric = unit(seen["keys"][seen["selected"]].mean(1)[:, 1:])
    tokens = []
    for b, f in enumerate(seen["features"]):
        dominant = scores[b].topk(u - 1 - c).indices
        mask = torch.ones(len(f), dtype=bool)
        mask[dominant] = False
        rest, m = f[mask], metric[b][mask]
        targets = torch.arange(0, len(rest), max(1, len(rest) // c))[:c]
        other = ~torch.isin(torch.arange(len(rest)), targets)
        assigned = torch.nn.functional.one_hot((m[other] @ m[targets].T).argmax(-1), c).to(f.dtype)
        gathered = assigned.T @ rest[other] / assigned.sum(0).clamp(min=1)[:, None]
        tokens.append(torch.cat([seen["cls"][b], f[~mask], rest[targets] + gathered]))
    return torch.stack(tokens)


def merge_centres(f, k, a, centres, neighbours):
    centres = centres.sort().values
    tokens = []
    for i in centres:
        similarity = k @ k[i]
        similarity[i] = -9
        near = similarity.topk(neighbours).indices
        tokens.append(f[i] + (f[near] * a[near, None]).sum(0))
    left = torch.ones(len(f), dtype=bool)
    left[centres] = False
    return torch.stack([*tokens, (f[left] * a[left, None]).sum(0)])


def count_outliers(a):
    q1, q3 = torch.quantile(a, 0.25), torch.quantile(a, 0.75)
    return int((a > q3 + 1.5 * (q3 - q1)).sum())


def prumerge(seen, b, pick, neighbours):
    last = len(seen["attention"]) - 1
    a = cls_rows(seen, last)[b].mean(0)
    k = unit(seen["keys"][last][b, :, 1:].transpose(0, 1).flatten(1))  # all heads side by side
    return merge_centres(seen["features"][b], k, a, pick(a), neighbours)


def spread(n):
    """A quarter by attention; the others in the middle of even strides through the rest."""

    def pick(a):
        first = a.argsort(descending=True)[: (2 * n + 4) // 8]  # n / 4, halves up
        rest = torch.tensor([p for p in range(len(a)) if p not in first.tolist()])
        m = n - len(first)
        places = [int((i + 0.5) * len(rest) / m) for i in range(m)]
        return torch.cat([first, rest[places]])

    return pick


def adaptive_plus(a):
    t = count_outliers(a)
    first, step = a.topk(t).indices, max(1, int(int(len(a) / t) / 3))
    extra = [p for p in range(0, len(a) - 1, step) if p not in first.tolist()]
    return torch.cat([first, torch.tensor(extra)])


def dpc_knn(seen, u, k):
    tokens = []
    for f in seen["features"]:
        d = torch.cdist(f, f) / f.shape[1] ** 0.5
        density = (-(d.topk(k, largest=False).values ** 2).mean(-1)).exp()
        denser = density[None, :] > density[:, None]
        delta = torch.where(denser, d, d.max()).min(-1).values
        centres = (delta * density).topk(u).indices.sort().values
        home = d[centres].argmin(0)
        home[centres] = torch.arange(u)
        tokens.append(torch.stack([f[home == c].mean(0) for c in range(u)]))
    return torch.stack(tokens)


def pooling(seen):
    f = seen["features"]
    b, p, d = f.shape
    side = int(p**0.5)
    grid = f.transpose(1, 2).reshape(b, d, side, side)
    return {
        "pooling.u4.grid.tokens": torch.nn.functional.avg_pool2d(grid, side // 2).flatten(2).transpose(1, 2),
        "pooling.u8.raster.tokens": torch.nn.functional.avg_pool1d(f.transpose(1, 2), p // 8).transpose(1, 2),
    }


def tome(model, pixels, layers, u):
    """Hidden state after so many layers, patches alone; every layer merges."""
    tower = model.model.vision_tower
    tower = getattr(tower, "vision_model", tower)
    heads = model.config.vision_config.num_attention_heads
    items = []
    for x in tower.pre_layrnorm(tower.embeddings(pixels)):
        size = torch.ones(len(x), 1, dtype=x.dtype)
        for index, layer in enumerate(tower.encoder.layers[:layers]):
            h, attend = layer.layer_norm1(x), layer.self_attn
            q, k, v = (
                p(h).view(len(x), heads, -1).transpose(0, 1) for p in (attend.q_proj, attend.k_proj, attend.v_proj)
            )
            weights = (q @ k.transpose(1, 2) / k.shape[-1] ** 0.5 + size.log()[:, 0]).softmax(-1)
            x = x + attend.out_proj((weights @ v).transpose(0, 1).flatten(1))
            n, left = len(x) - 1, layers - index
            r = max(-((u - n) // left), n - u * 2 ** (left - 1))
            metric = unit(k.mean(0))
            scores = metric[::2] @ metric[1::2].T
            scores[0] = -9  # the class token stays
            best, match = scores.max(-1)
            source = best.argsort(descending=True)[:r]
            weighted, total = x * size, size.clone()
            x = weighted.clone()
            for a in source:
                x[2 * match[a] + 1] += weighted[2 * a]
                total[2 * match[a] + 1] += size[2 * a]
            stay = torch.ones(len(x), dtype=bool)
            stay[2 * source] = False
            x, size = (x / total)[stay], total[stay]
            x = x + layer.mlp(layer.layer_norm2(x))
        items.append(x[1:])
    return torch.stack(items)


def main():
    model = LlavaForConditionalGeneration.from_pretrained(
        FOLDER, dtype=torch.float64, attn_implementation="eager"
    ).eval()
    pixels = load_file(FOLDER / "expected.safetensors")["pixel_values"].double()
    with torch.no_grad():
        seen = see(model, pixels)
        out = pooling(seen)
        batch = range(len(pixels))
        for u in BUDGETS:
            one = cls_rows(seen, seen["selected"]).mean(1)
            out |= {f"fastervlm.u{u}.kept": top(one, u), f"hired.u{u}.kept": top(one, u)}
            out |= {f"fopru.u{u}.{name}": x for name, x in fopru(seen, u).items()}
            for share in (0.5, 0.75):
                out[f"vispruner.u{u}.share{share}.kept"] = vispruner(seen, u, share)
            out |= {f"divprune.u{u}.kept": divprune(seen, u), f"hybrid.u{u}.kept": hybrid(seen, u)}
            out[f"visionzip.u{u}.tokens"] = visionzip(seen, u, 2)
            top_n = lambda a: a.topk(u - 1).indices  # noqa: E731
            out[f"prumerge.u{u}.tokens"] = torch.stack([prumerge(seen, b, top_n, 4) for b in batch])
            out[f"prumerge+.u{u}.tokens"] = torch.stack([prumerge(seen, b, spread(u - 1), 4) for b in batch])
            out[f"dpc-knn.u{u}.tokens"] = dpc_knn(seen, u, 3)
            out[f"tome.u{u}.tokens"] = tome(model, pixels, seen["selected"] + 1, u)
        for b in batch:
            few = lambda a: a.topk(count_outliers(a)).indices  # noqa: E731
            out[f"prumerge.adaptive.{b}.tokens"] = prumerge(seen, b, few, 4)[None]
            out[f"prumerge+.adaptive.{b}.tokens"] = prumerge(seen, b, adaptive_plus, 4)[None]
    out = {name: x.float().contiguous() if x.is_floating_point() else x.contiguous() for name, x in out.items()}
    save_file(out, HERE / "field.safetensors", {"made_with": json.dumps(VERSIONS)})
    for name, x in out.items():
        print(name, tuple(x.shape))


if __name__ == "__main__":
    main()
