"""Writes cases.json: selections, merges and cuts as somebody's own code in Python would tell them, without numpy or torch."""

import json
import random
from pathlib import Path

random.seed(5)
H, K, P, U, D = 2, 3, 16, 4, 3


def attention():
    """[CLS] to patches in K layers of H heads, after a softmax: what [CLS] gives to itself is left out."""
    rows = [[[random.random() ** 4 for _ in range(P)] for _ in range(H)] for _ in range(K)]
    return [[[x / (sum(row) + 1) for x in row] for row in heads] for heads in rows]


def top(scores, count):
    return sorted(sorted(range(P), key=lambda p: (-scores[p], p))[:count])


seen = attention()
scores = [sum(sum(head[p] for head in heads) / H for heads in seen) for p in range(P)]
features = [[random.uniform(-1, 1) for _ in range(D)] for _ in range(P)]
groups = [list(range(u * P // U, (u + 1) * P // U)) for u in range(U)]  # neighbours, each their mean
means = [[sum(features[p][d] for p in group) / len(group) for d in range(D)] for group in groups]
text, image = [0, 1, 18, 19], list(range(2, 18))
kept = top(scores, U)
short = [t for t in range(20) if t in text or t - 2 in kept]

cases = [
    {"kind": "selection", "name": "by scores", "budget": U, "scores": scores, "kept": kept},
    {"kind": "selection", "name": "by K layers", "budget": U, "attention": seen, "kept": kept},
    {"kind": "selection", "name": "of 16 patches", "budget": U, "patches": P, "kept": kept},
    {
        "kind": "merge", "name": "means", "patches": P, "means": True, "partition": True,
        "weights": [{str(p): 1 / len(group) for p in group} for group in groups],
        "features": features, "tokens": means,
    },
    {
        "kind": "merge", "name": "dense", "patches": P,
        "weights": [[1.0 if p == q else 0.0 for p in range(P)] for q in kept],
    },
    {"kind": "cut", "name": "lengths", "text": text, "image": image, "layers": [20, 20, 8, 8]},
    {
        "kind": "cut", "name": "places", "text": text, "image": image,
        "layers": [
            {"tokens": tokens, "cache": len(tokens), "positions": tokens}
            for tokens in [list(range(20)), list(range(20)), short, short]
        ],
    },
]
wrong = [
    {"kind": "selection", "name": "sorted by score", "budget": U, "scores": scores,
     "kept": sorted(range(P), key=lambda p: -scores[p])[:U]},
    {"kind": "selection", "name": "a score of NaN", "budget": 1, "scores": [float("nan"), 0.5], "kept": [1]},
    {"kind": "merge", "name": "sums", "patches": P, "means": True, "weights": [{"0": 1.0, "1": 1.0}]},
    {"kind": "cut", "name": "a lost word", "text": text, "image": image,
     "layers": [{"tokens": list(range(20))}, {"tokens": short[1:]}]},
]  # fmt: skip

here = Path(__file__).parent
for name, content in {"cases.json": cases, "wrong-cases.json": wrong}.items():
    (here / name).write_text(json.dumps({"cases": content}) + "\n")
