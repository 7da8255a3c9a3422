"""Numbers of PyTorch's AdamW with gradient clipping, for test/train/optimizer.test.ts: python make_adamw.py"""
import json, pathlib, torch

weights = torch.tensor([0.5, -1.25, 2.0, 0.03125], requires_grad=True)
bias = torch.tensor([0.25, -0.75], requires_grad=True)
optimizer = torch.optim.AdamW(
    [{"params": [weights], "weight_decay": 0.05}, {"params": [bias], "weight_decay": 0.0}],
    betas=(0.9, 0.98), eps=1e-6)
steps = []
for step in range(5):
    rate = 0.01 * (step + 1)
    for group in optimizer.param_groups: group["lr"] = rate
    gradient = [(7 * i + 3 * step) % 5 * 0.5 - 1 for i in range(6)]
    gradient = [g * (0.25 if step % 2 else 4) for g in gradient]  # every second one is short enough not to be clipped
    weights.grad, bias.grad = torch.tensor(gradient[:4]), torch.tensor(gradient[4:])
    torch.nn.utils.clip_grad_norm_([weights, bias], 1.0)
    optimizer.step()
    steps.append({"rate": rate, "gradient": gradient, "weights": weights.tolist() + bias.tolist()})
file = pathlib.Path(__file__).parent / "adamw.json"
file.write_text(json.dumps({"initial": [0.5, -1.25, 2.0, 0.03125, 0.25, -0.75], "decays": [1, 1, 1, 1, 0, 0], "steps": steps}, indent=1) + "\n")
