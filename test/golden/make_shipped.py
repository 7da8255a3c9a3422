"""What transformers makes of the models in weights/: greedy answers and logits, of whole pictures and of 36 patches of
them, and zero-shot scores, on drawn scenes.

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

K, STEPS = 3, 4  # VTC-CLS's layers; tokens of answer


def prompt_of(question):
    return f"USER: <image>\n{question} ASSISTANT:"


def whole(llava, processor, image, question):
    """As transformers' own page does it: the processor makes 100 places for the picture."""
    inputs = processor(images=image, text=prompt_of(question), return_tensors="pt")
    out = llava.generate(
        **inputs, max_new_tokens=STEPS, do_sample=False, return_dict_in_generate=True, output_logits=True
    )
    return out.sequences[0, inputs["input_ids"].shape[1] :], out.logits[0][0]


def vtc_cls(llava, processor, image, count):
    """The patches that [CLS] attends to most, by K layers up to the one whose output LLaVA reads."""
    pixels = processor.image_processor(images=image, return_tensors="pt")["pixel_values"]
    seen = llava.model.vision_tower(pixels, output_hidden_states=True, output_attentions=True)
    scores = sum(a.mean(1)[0, 0, 1:] for a in seen.attentions[-1 - K : -1])
    kept = scores.topk(count).indices.sort().values
    return llava.model.multi_modal_projector(seen.hidden_states[-2][:, 1:][:, kept])[0], kept


def read(llava, processor, visual, question):
    """Embeddings of a prompt with these visual tokens in the picture's place, and where they begin."""
    ids = processor.tokenizer(prompt_of(question), return_tensors="pt").input_ids[0]
    at = int((ids == llava.config.image_token_index).nonzero())
    embed = llava.get_input_embeddings()
    return torch.cat([embed(ids[:at]), visual, embed(ids[at + 1 :])])[None], at


def pruned(llava, processor, image, question, count):
    visual, _ = vtc_cls(llava, processor, image, count)
    embeds, _ = read(llava, processor, visual, question)
    out = llava.generate(
        inputs_embeds=embeds,
        attention_mask=torch.ones(embeds.shape[:2], dtype=torch.long),
        max_new_tokens=STEPS,
        do_sample=False,
        return_dict_in_generate=True,
        output_logits=True,
    )
    return out.sequences[0], out.logits[0][0]


def at_original_places(llava, processor, image, question, count, mask):
    """The first word where kept patches keep their positions, read without a cache: with an explicit causal mask, or none."""
    visual, kept = vtc_cls(llava, processor, image, count)
    embeds, at = read(llava, processor, visual, question)
    T, P = embeds.shape[1], 100
    before, after = torch.arange(at), torch.arange(at + P, at + P + T - at - count)
    position_ids = torch.cat([before, at + kept, after])[None]
    causal = torch.zeros(1, 1, T, T).masked_fill(torch.ones(T, T).triu(1).bool(), torch.finfo(torch.float32).min)
    out = llava(
        inputs_embeds=embeds,
        position_ids=position_ids,
        attention_mask=causal if mask else None,
        use_cache=False,
    )
    return processor.tokenizer.decode(out.logits[0, -1].argmax()).strip()


def share(words):
    return sum(word == q["answer"] for word, q in zip(words, questions))


models, tensors, gaps = [], {}, {}
for folder in ("llava", "llava-fixed", "llava-salient"):
    llava, processor = load(LlavaForConditionalGeneration, weights / folder)
    llava.set_attn_implementation("eager")  # which returns attentions
    for count in (100, 36):
        answers, logits = [], []
        for q in questions:
            image = images[q["image"]]
            if count == 100:
                new, first = whole(llava, processor, image, q["question"])
            else:
                new, first = pruned(llava, processor, image, q["question"], count)
            text = processor.tokenizer.decode(new, skip_special_tokens=True).strip()
            answers.append({"id": q["id"], "question": q["question"], "answer": text})
            logits.append(first)
        correct = share(a["answer"] for a in answers)
        models.append({"folder": folder, "tokens": count, "correct": correct, "answers": answers})
        tensors[f"{folder}.{count}.logits"] = torch.stack(logits).contiguous()
        print(f"{folder} at {count}: {correct} of {COUNT} right")
    gaps[folder] = {
        name: share(at_original_places(llava, processor, images[q["image"]], q["question"], 25, mask) for q in questions)
        for name, mask in (("causal_mask", True), ("no_mask", False))
    }
    print(f"{folder} at 25 tokens in their original places: {gaps[folder]}")

llava, _ = load(LlavaForConditionalGeneration, weights / "llava")
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
chosen, close = [], 0
for q in questions:
    pixels = images_of(images[q["image"]], return_tensors="pt")["pixel_values"].double()
    both = [cdpruner(pixels, q["question"], u) for u in (13, 25)]
    if min(gap for _, gap in both) < 1e-4:
        close += 1  # float32 may choose otherwise
        continue
    chosen += [{"question": q["question"], "image": q["image"], "kept": kept} for kept, _ in both]
    if len(chosen) == 32:
        break
print(f"CDPruner: {len(chosen)} choices, {close} questions left out whose residuals are too close")

save_file(tensors | {"clip.logits_per_image": scores.contiguous()}, golden / "shipped.safetensors")
made_with = {"transformers": transformers.__version__, "torch": torch.__version__}
record = {"made_with": made_with, "labels": labels, "models": models, "original_places": gaps, "cdpruner": chosen}
(golden / "shipped.json").write_text(json.dumps(record, indent=1) + "\n")
