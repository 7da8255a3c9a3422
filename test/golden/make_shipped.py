"""What transformers makes of the two models in weights/: greedy answers, logits and zero-shot scores on drawn scenes.

    npx tsx src/cli/main.ts world --split test --count 32 --out out/world
    python test/golden/make_shipped.py out/world

writes test/golden/shipped.json and shipped.safetensors, with which test/models/shipped.test.ts compares our own run.
"""

import json
import sys
from pathlib import Path

import torch
import transformers
from PIL import Image
from safetensors.torch import save_file
from transformers import AutoProcessor, CLIPModel, LlavaForConditionalGeneration

COUNT = 200
world = Path(sys.argv[1])
golden = Path(__file__).parent
weights = golden.parent.parent / "weights"
torch.set_grad_enabled(False)


def load(kind, folder):
    model, report = kind.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    assert not any(report.values()), report  # nothing missing, unexpected or misshapen
    return model.eval(), AutoProcessor.from_pretrained(folder)


questions = [json.loads(line) for line in (world / "questions.jsonl").read_text().splitlines()][:COUNT]
assert len(questions) == COUNT, f"{len(questions)} questions in {world}, {COUNT} needed"
images = {q["image"]: Image.open(world / q["image"]).convert("RGB") for q in questions}

llava, processor = load(LlavaForConditionalGeneration, weights / "llava")
answers, logits = [], []
for q in questions:
    prompt = f"USER: <image>\n{q['question']} ASSISTANT:"
    inputs = processor(images=images[q["image"]], text=prompt, return_tensors="pt")
    out = llava.generate(
        **inputs, max_new_tokens=4, do_sample=False, return_dict_in_generate=True, output_logits=True
    )
    new = out.sequences[0, inputs["input_ids"].shape[1] :]
    text = processor.tokenizer.decode(new, skip_special_tokens=True).strip()
    answers.append({"id": q["id"], "question": q["question"], "answer": text})
    logits.append(out.logits[0][0])

clip, processor = load(CLIPModel, weights / "clip")
labels = ["a small red circle upper-left", "a large blue square lower-right", "a white letter k upper-right"]
pictures = list(images)[:8]
inputs = processor(images=[images[p] for p in pictures], text=labels, return_tensors="pt", padding=True)
scores = clip(**inputs).logits_per_image



def cdpruner(pixels, question, u):
    """As its authors released it, on one picture, in float64."""
    features = llava64.model.vision_tower(pixels, output_hidden_states=True).hidden_states[-2][:, 1:]
    z = unit(llava64.model.multi_modal_projector(features))[0]
    c = unit(clip64.visual_projection(clip64.vision_model.post_layernorm(features)))[0]
    ids = processor.tokenizer(question, return_tensors="pt")
    text = unit(clip64.text_projection(clip64.text_model(**ids).pooler_output))[0]
    r = -c @ text
    r = (r - r.min() + 1e-6) / (r.max() - r.min())
    kernel = r[:, None] * (z @ z.T) * r[None, :]
    left, rows, kept, gap = kernel.diagonal().clone(), [], [], 1.0
    for _ in range(u):
        best, second = left.topk(2).values.tolist()
        gap = min(gap, (best - second) / best)
        j = int(left.argmax())
        kept.append(j)
        row = kernel[j] - sum((e[j] * e for e in rows), torch.zeros_like(left))
        rows.append(row / left[j].sqrt())
        left -= rows[-1] ** 2
        left[j] = -torch.inf
    return sorted(kept), gap


def unit(x):
    return x / x.norm(dim=-1, keepdim=True)


llava64, clip64 = llava.double(), clip.double()  # all float32 work is done
images_of = AutoProcessor.from_pretrained(weights / "llava").image_processor
chosen = []
for q in questions[:16]:
    pixels = images_of(images[q["image"]], return_tensors="pt")["pixel_values"].double()
    for u in (13, 25):
        kept, gap = cdpruner(pixels, q["question"], u)
        assert gap > 1e-4, f"float32 may choose otherwise: two residuals differ by {gap}"
        chosen.append({"question": q["question"], "image": q["image"], "kept": kept})

save_file(
    {"llava.logits": torch.stack(logits).contiguous(), "clip.logits_per_image": scores.contiguous()},
    golden / "shipped.safetensors",
)
right = sum(a["answer"] == q["answer"] for a, q in zip(answers, questions))
made_with = {"transformers": transformers.__version__, "torch": torch.__version__}
record = {"made_with": made_with, "correct": right, "labels": labels, "answers": answers, "cdpruner": chosen}
(golden / "shipped.json").write_text(json.dumps(record, indent=1) + "\n")
print(f"{right} of {COUNT} right")
