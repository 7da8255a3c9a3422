"""Makes perceptiongpt.safetensors: PerceptionGPT's forward, loss, gradients and a greedy step, on transformers' LlamaModel.

    python test/golden/make_perceptiongpt.py

Our own derivation of the paper (arXiv 2311.06612), in float64 (softmax, RMSNorm and rotary tables float32, as transformers
has them), with the sizes of src/testing/tiny-model.ts and three layers. Two items, each a prompt with a picture of three
tokens and a given box, answered by a box and a word.
"""

import platform
from pathlib import Path

import safetensors
import torch
import torch.nn.functional as F
import transformers
from safetensors.torch import save_file
from torch import nn
from transformers import LlamaConfig, LlamaModel

torch.manual_seed(3)
V, E, M, D, P = 19, 8, 4, 6, 3
LOC, END = V, 2
BEFORE, ASK, ANSWER = [1, 5], [[7, LOC, 3, 6], [4, 9, LOC, 6]], [[LOC, 4, END], [LOC, 11, END]]

config = LlamaConfig(
    vocab_size=V + 2, hidden_size=E, intermediate_size=9, num_hidden_layers=3, num_attention_heads=4,
    num_key_value_heads=2, head_dim=4, max_position_embeddings=64, rms_norm_eps=0.03, rope_theta=100.0,
    hidden_act="silu", attn_implementation="eager")
decoder = LlamaModel(config)
lm_head = nn.Linear(E, V + 2, bias=False)
projector = nn.ModuleDict({"linear_1": nn.Linear(D, E), "linear_2": nn.Linear(E, E)})


class Mlp(nn.Module):
    def __init__(self, inner, width, out):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(inner, width), nn.Linear(width, width), nn.Linear(width, out)])

    def forward(self, x):
        first, second, third = self.layers
        return third(F.relu(second(F.relu(first(x)))))


box_encoder, box_decoder = Mlp(4, M, E), Mlp(E, M, 4)
parts = {"language_model.model": decoder, "language_model.lm_head": lm_head, "multi_modal_projector": projector,
         "box_encoder": box_encoder, "box_decoder": box_decoder}
for part in parts.values():
    part.double()
    for parameter in part.parameters():  # of order 1, and float32's numbers
        parameter.data = (torch.randn_like(parameter) * 0.5).float().double()
features = torch.randn(2, P, D).double()
given = torch.tensor([[0.1, 0.2, 0.4, 0.5], [0.3, 0.3, 0.9, 0.8]]).double()
truth = torch.tensor([[0.2, 0.5, 0.6, 0.7], [0.5, 0.1, 0.75, 0.4]]).double()


def embed(ids, boxes):
    """Rows of the table; in place of each <loc> its box as it is written."""
    x = decoder.embed_tokens(ids).clone()
    for b, row in enumerate(ids):
        places = (row == LOC).nonzero()[:, 0]
        x[b, places] = box_encoder(boxes[b][: len(places)])
    return x


def states_of(after, boxes):
    """The last hidden states, after the final norm, of [before | picture | after]."""
    ids = torch.tensor(after)
    visual = projector["linear_2"](F.gelu(projector["linear_1"](features)))
    before = decoder.embed_tokens(torch.tensor([BEFORE, BEFORE]))
    x = torch.cat([before, visual, embed(ids, boxes)], 1)
    return decoder(inputs_embeds=x, use_cache=False).last_hidden_state


def giou_loss(a, b):
    a = torch.cat([torch.minimum(a[:, :2], a[:, 2:]), torch.maximum(a[:, :2], a[:, 2:])], 1)
    area = lambda box: (box[:, 2:] - box[:, :2]).clamp(min=0).prod(1)
    inner = area(torch.cat([torch.maximum(a[:, :2], b[:, :2]), torch.minimum(a[:, 2:], b[:, 2:])], 1))
    around = area(torch.cat([torch.minimum(a[:, :2], b[:, :2]), torch.maximum(a[:, 2:], b[:, 2:])], 1))
    union = area(a) + area(b) - inner
    return 1 - (inner / union - (around - union) / around)


# The words' row is drawn so that <loc> comes first by itself: states do not depend on it.
with torch.no_grad():
    asking = states_of(ASK, given[:, None])[:, -1]
    lm_head.weight[LOC] = (4 * F.normalize(asking, dim=1).sum(0)).float().double()

after = [ask + answer[:-1] for ask, answer in zip(ASK, ANSWER)]
answered = states_of(after, torch.stack([given, truth], 1))[:, -3:]  # what says <loc>, a word and the end
logits = lm_head(answered)
boxes = torch.sigmoid(box_decoder(answered[:, 0]))
targets = torch.tensor(ANSWER)
language = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
box = 10 * (boxes - truth).abs().mean() + giou_loss(boxes, truth).mean()
(language + box).backward()

with torch.no_grad():
    assert (lm_head(asking).argmax(1) == LOC).all()
    said = torch.sigmoid(box_decoder(asking))
    next_logits = lm_head(states_of([ask + [LOC] for ask in ASK], torch.stack([given, said], 1))[:, -1])
    next_tokens = next_logits.argmax(1)
    assert (next_tokens != LOC).all()

names = {f"{name}.{key}": parameter for name, part in parts.items() for key, parameter in part.named_parameters()}
out = {f"weights.{name}": parameter for name, parameter in names.items()}
out |= {f"gradient.{name}": parameter.grad for name, parameter in names.items()}
out |= {"features": features, "given": given, "truth": truth, "logits": logits.flatten(0, 1), "boxes": boxes,
        "language": language[None], "box": box[None], "said": said, "next": next_logits}
save_file({name: tensor.detach().float().contiguous() for name, tensor in out.items()},
          Path(__file__).parent / "perceptiongpt.safetensors",
          {"script": "test/golden/make_perceptiongpt.py", "python": platform.python_version(), "torch": torch.__version__,
           "transformers": transformers.__version__, "safetensors": safetensors.__version__})
