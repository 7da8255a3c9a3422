"""Makes the tiny LLaVA-NeXT models of this folder and what Hugging Face computes with them.

    python test/golden/make_next.py

As make_models.py, whose random weights, greedy tokens and names these are. Three pictures each, wide, tall and square, as PNGs in
the first folder. For picture I: `I.pixels` [V, 3, S, S] by transformers' own image processor, `I.ids` with the image token once for
each of its tokens, `I.features` packed by transformers, `I.logits` of the whole prompt and `I.tokens` that follow; and with VTC-CLS
in each view, U patches of each, every newline kept: `I.kept` among the patches in the order in which the decoder reads them,
`I.kept-logits`, `I.kept-tokens`.
"""

import json
from pathlib import Path

import numpy as np
import torch
from make_models import HERE, VERSIONS, decode, greedy, publish, randomize
from PIL import Image
from safetensors.torch import save_file
from transformers import LlavaNextConfig, LlavaNextForConditionalGeneration
from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil

S, PATCH, IMAGE, K, U = 24, 6, 119, 2, 3
G = S // PATCH
PINPOINTS = [[24, 48], [48, 24], [48, 48], [72, 24], [24, 72]]
SIZES = [(90, 40), (31, 77), (50, 50)]  # width, height

VISION = {
    "model_type": "clip_vision_model",
    "hidden_size": 24,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 3,
    "image_size": S,
    "patch_size": PATCH,
    "projection_dim": 16,
    "vocab_size": 120,
}
TEXT = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 120,
    "max_position_embeddings": 256,
    "rms_norm_eps": 1e-5,
}
# The keys that the published vicuna and mistral folders have, at tiny sizes.
COMMON = {
    "architectures": ["LlavaNextForConditionalGeneration"],
    "ignore_index": -100,
    "image_grid_pinpoints": PINPOINTS,
    "image_token_index": IMAGE,
    "model_type": "llava_next",
    "projector_hidden_act": "gelu",
    "tie_word_embeddings": False,
    "torch_dtype": "float16",
    "use_image_newline_parameter": True,
    "vision_config": VISION,
    "vision_feature_layer": -2,
    "vision_feature_select_strategy": "default",
}
FOLDERS = {
    "llava-next-vicuna": COMMON | {"text_config": TEXT | {"model_type": "llama", "pad_token_id": 0}},
    "llava-next-mistral": COMMON
    | {
        "text_config": TEXT
        | {
            "model_type": "mistral",
            "num_key_value_heads": 2,
            "rope_theta": 1000000.0,
            "sliding_window": None,
        }
    },
}
PROCESSOR = {
    "aspect_ratio_setting": "anyres",
    "crop_size": {"height": S, "width": S},
    "do_center_crop": True,
    "do_convert_rgb": True,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_grid_pinpoints": PINPOINTS,
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_processor_type": "LlavaNextImageProcessor",
    "image_std": [0.26862954, 0.26130258, 0.27577711],
    "processor_class": "LlavaNextProcessor",
    "resample": 3,
    "rescale_factor": 0.00392156862745098,
    "size": {"shortest_edge": S},
}


def picture(size, seed):
    """Blocks of colour with noise: edges for the resampling, and no two patches alike."""
    width, height = size
    random = np.random.default_rng(seed)
    blocks = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    rows, columns = np.arange(height) * 8 // height, np.arange(width) * 8 // width
    noise = random.integers(-20, 21, (height, width, 3))
    return Image.fromarray(np.clip(blocks[rows][:, columns] + noise, 0, 255).astype(np.uint8))


def kept_in_views(attention, size, last):
    """VTC-CLS by itself in each view, among the patches that are read: places in the decoder's order, newlines left out.

    The crops' grid is numbered whole, then the padding is cut off it, here with index arithmetic of our own.
    """
    scores = sum(attention[layer][:, :, 0, 1:].mean(1) for layer in range(last - K, last))  # [V, P]
    width, height = size
    best = max(
        PINPOINTS,
        key=lambda hw: (
            min(int(width * (s := min(hw[1] / width, hw[0] / height))) * int(height * s), width * height),
            -hw[0] * hw[1],
        ),
    )
    rows, columns = best[0] // S * G, best[1] // S * G
    if width / height > columns / rows:
        pad = (rows - int(round(height * (columns / width), 7))) // 2
        inside = [(r, c) for r in range(pad, rows - pad) for c in range(columns)]
        shape = rows - 2 * pad, columns
    else:
        pad = (columns - int(round(width * (rows / height), 7))) // 2
        inside = [(r, c) for r in range(rows) for c in range(pad, columns - pad)]
        shape = rows, columns - 2 * pad
    kept = scores[0].topk(U).indices.tolist()
    across = best[1] // S
    for crop in range(len(scores) - 1):
        own = [
            (scores[1 + crop, (r % G) * G + c % G].item(), G * G + i)
            for i, (r, c) in enumerate(inside)
            if (r // G) * across + c // G == crop
        ]
        assert len(own) >= U, "each view has its share"
        kept += [place for _, place in sorted(own, key=lambda one: -one[0])[:U]]
    return sorted(kept), shape


def run(model, pixels, size):
    width, height = size
    sizes = torch.tensor([[height, width]])
    lm = model.model
    features = model.get_image_features(pixels[None], sizes, return_dict=True).pooler_output[0]
    generator = torch.Generator().manual_seed(width)
    words = torch.randint(3, IMAGE, (9,), generator=generator).tolist()
    ids = torch.tensor([[1, *words[:5], *[IMAGE] * len(features), *words[5:]]])
    margins = []
    embeddings = model.get_input_embeddings()(ids).masked_scatter((ids == IMAGE)[..., None], features)
    length = ids.shape[1]
    positions = torch.arange(length)[None]
    logits = decode(model, embeddings, positions)[1]
    theirs = model(input_ids=ids, pixel_values=pixels[None], image_sizes=sizes).logits
    torch.testing.assert_close(logits, theirs)
    out = {
        "ids": ids,
        "features": features[None],
        "logits": logits,
        "tokens": greedy(model, embeddings, positions, length, margins),
    }

    seen = lm.vision_tower(pixels, output_attentions=True)
    kept, (rows, columns) = kept_in_views(seen.attentions, size, model.config.vision_config.num_hidden_layers - 1)
    assert len(features) == G * G + rows * (columns + 1)
    stays = [place for place in kept if place < G * G]
    for r in range(rows):
        begin = G * G + r * columns
        row = [place for place in kept if begin <= place < begin + columns]
        stays += [place + r for place in row] + [G * G + (r + 1) * (columns + 1) - 1]  # newlines counted, then its own
    first = 6
    order = [*range(first), *(first + place for place in stays), *range(first + len(features), length)]
    short = embeddings[:, order]
    positions = torch.arange(len(order))[None]
    return out | {
        "kept": torch.tensor([kept]),
        "kept-logits": decode(model, short, positions)[1],
        "kept-tokens": greedy(model, short, positions, len(order), margins),
    }, min(margins)


def main():
    processor = LlavaNextImageProcessorPil(**{k: v for k, v in PROCESSOR.items() if "_type" not in k and "class" not in k and k != "aspect_ratio_setting"})
    for name, given in FOLDERS.items():
        folder = HERE / name
        folder.mkdir(exist_ok=True)
        pictures = [picture(size, i) for i, size in enumerate(SIZES)]
        for seed in range(100):
            config = LlavaNextConfig.from_dict(json.loads(json.dumps(given)))
            config._attn_implementation = "eager"
            model = LlavaNextForConditionalGeneration(config).eval()
            randomize(model, seed, torch.float16)
            state = {k: v.half() for k, v in model.state_dict().items()}
            model = model.double()
            expected, margins = {}, []
            for i, image in enumerate(pictures):
                pixels = torch.tensor(np.array(processor(image, return_tensors="np")["pixel_values"][0]))
                traced, margin = run(model, pixels.double(), image.size)
                margins.append(margin)
                expected |= {f"{i}.{key}": value for key, value in traced.items()}
                expected[f"{i}.pixels"] = pixels.float()
            varied = all(len(set(t[0].tolist())) >= 3 for k, t in expected.items() if k.endswith("tokens"))
            if min(margins) > 2e-3 and varied:
                break
        if name == "llava-next-vicuna":
            for i, image in enumerate(pictures):
                image.save(folder / f"{i}.png")
        (folder / "config.json").write_text(json.dumps(given, indent=2) + "\n")
        (folder / "preprocessor_config.json").write_text(json.dumps(PROCESSOR, indent=2) + "\n")
        save_file(publish(state), folder / "model.safetensors", metadata={"format": "pt"})
        as_file = {
            k: (v.int() if v.dtype == torch.int64 else v.float()).contiguous() for k, v in expected.items()
        }
        save_file(as_file, folder / "expected.safetensors", metadata=VERSIONS | {"script": "test/golden/make_next.py", "seed": str(seed)})
        print(name, "seed", seed, "margin", min(margins), {k: list(v.shape) for k, v in as_file.items()})


if __name__ == "__main__":
    with torch.no_grad():
        main()
