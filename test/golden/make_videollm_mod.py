"""Makes videollm-mod.safetensors: VideoLLM-MoD's layers, its loss and the gradient of its scorers, by PyTorch's autograd.

    python test/golden/make_videollm_mod.py

The decoder of llava-v5keys has two layers; here they run three times over, 0 1 0 1 0 1, and the layers 0, 2 and 4 have a
scorer. The 16 visual tokens are four frames of four, of which each keeps two. All in float64 (softmax, RMSNorm and rotary
tables float32, as transformers has them). Stored: the scorers, and for each GATE, sigmoid or one, `GATE.places.LL` [B,T'] of
the tokens that go through layer LL and `GATE.logits` [B,T,V]; of the sigmoid gate `loss` and its gradient by each scorer,
where the answers' cross-entropy and half of that of the frames' tokens before the last layer are summed. Refuses a near-tie,
which float32 could decide otherwise.
"""

import json
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
FRAMES, TOKENS, KEPT = 4, 4, 2
BEFORE, ASK, ANSWER = [1, 92, 103], [109, 60, 10], [19, 67]
VERSIONS = {
    "script": "test/golden/make_videollm_mod.py",
    "python": platform.python_version(),
    "torch": torch.__version__,
    "transformers": transformers.__version__,
    "safetensors": safetensors.__version__,
}
torch.manual_seed(0)
model = LlavaForConditionalGeneration.from_pretrained(FOLDER, attn_implementation="eager").double().eval()
decoder = model.model.language_model
layers = list(decoder.layers) * 3
E = decoder.config.hidden_size
scorers = {l: torch.nn.Linear(E, 1).double() for l in (0, 2, 4)}
visual = load_file(FOLDER / "expected.safetensors")["projector.output"].double()  # [B,P,E]
B, P = visual.shape[:2]
S = len(BEFORE)


def text(ids):
    return decoder.embed_tokens(torch.tensor(ids)).expand(B, -1, -1)


def choose(scores):
    """Ascending places of one item: all text, and of each frame the best."""
    kept = torch.ones(len(scores), dtype=torch.bool)
    for f in range(FRAMES):
        frame = slice(S + f * TOKENS, S + (f + 1) * TOKENS)
        ranked = scores[frame].sort(descending=True).values
        assert (ranked[KEPT - 1] - ranked[KEPT]).abs() > 1e-4, "a near-tie"
        stays = torch.zeros(TOKENS, dtype=torch.bool)
        stays[scores[frame].topk(KEPT).indices] = True
        kept[frame] = stays
    return kept.nonzero()[:, 0]


def run(gate):
    x = torch.cat([text(BEFORE), visual, text(ASK + ANSWER[:-1])], 1)
    T = x.shape[1]
    is_frame = torch.zeros(T, dtype=torch.bool)
    is_frame[S : S + P] = True
    places, states = [], []
    for l, layer in enumerate(layers):
        states.append(x)
        scores = scorers[l](x)[..., 0] if l in scorers else torch.zeros(B, T)
        chosen = [choose(s.detach()) if l in scorers else torch.arange(T) for s in scores]
        places.append(torch.stack(chosen))
        rows = []
        for b, kept in enumerate(chosen):
            t = len(kept)
            mask = torch.full((t, t), -1e9, dtype=x.dtype).triu(1)[None, None]
            rope = decoder.rotary_emb(x, kept[None])  # at the positions that they have
            made = layer(x[b : b + 1, kept], position_embeddings=rope, attention_mask=mask)
            y = (made[0] if isinstance(made, tuple) else made).reshape(t, E)
            g = torch.sigmoid(scores[b, kept]) if gate == "sigmoid" and l in scorers else torch.ones(t)
            g = torch.where(is_frame[kept], g, torch.ones(t, dtype=x.dtype))[:, None]
            rows.append(x[b].index_copy(0, kept, x[b, kept] + g * (y - x[b, kept])))
        x = torch.stack(rows)
    return x, states[-1], places


def read(x):
    return model.lm_head(decoder.norm(x))


out = {f"scorers.{l}.{name}": value.detach().float() for l, s in scorers.items() for name, value in s.named_parameters()}
for gate in ("sigmoid", "one"):
    x, earlier, places = run(gate)
    out[f"{gate}.logits"] = read(x).detach().float()
    for l, rows in enumerate(places):
        out[f"{gate}.places.{l:02d}"] = rows.to(torch.int32)
    if gate == "sigmoid":
        first = x.shape[1] - len(ANSWER)
        answers = F.cross_entropy(read(x)[:, first:].reshape(-1, 120), torch.tensor(ANSWER * B))
        # Frame tokens say 2, but the first of each frame 5.
        told = torch.tensor([5 if i % TOKENS == 0 else 2 for i in range(P)] * B)
        cells = read(earlier)[:, S : S + P].reshape(-1, 120)
        tells = told == 5
        loss = answers + 0.5 * (F.cross_entropy(cells[tells], told[tells]) + F.cross_entropy(cells[~tells], told[~tells]))
        loss.backward()
        out["loss"] = loss.detach().float().reshape(1)
        for l, s in scorers.items():
            for name, value in s.named_parameters():
                out[f"gradient.{l}.{name}"] = value.grad.float()

save_file({k: v.contiguous() for k, v in out.items()}, HERE / "videollm-mod.safetensors", metadata=VERSIONS)
print(json.dumps({k: list(v.shape) for k, v in out.items()}))
