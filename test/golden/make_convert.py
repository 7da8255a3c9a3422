"""Makes one tiny LLaVA in the forms that `vtc convert` reads, and what Hugging Face computes with it.

    python test/golden/make_convert.py

`convert/authors`: the layout of the LLaVA authors, pytorch_model.bin in two shards, vocabulary without <image>; `convert/clip`: the CLIP
whose tower it names, with its text tower, as pytorch_model.bin; `convert/pickled`: the same LLaVA in Hugging Face's layout as
pytorch_model.bin. Logits are of the words that all have.
"""

import json

import torch
from make_models import HERE, VERSIONS, decode, greedy, publish, randomize, text, vision
from safetensors.torch import save_file
from transformers import CLIPConfig, CLIPModel, LlavaConfig, LlavaForConditionalGeneration

V, P = 120, 9
AUTHORS = {
    "_name_or_path": "llava-tiny",
    "architectures": ["LlavaLlamaForCausalLM"],
    "bos_token_id": 1,
    "eos_token_id": 2,
    "freeze_mm_mlp_adapter": False,
    "hidden_act": "silu",
    "hidden_size": 32,
    "image_aspect_ratio": "pad",
    "intermediate_size": 64,
    "max_position_embeddings": 128,
    "mm_hidden_size": 24,
    "mm_projector_type": "mlp2x_gelu",
    "mm_use_im_patch_token": False,
    "mm_use_im_start_end": False,
    "mm_vision_select_feature": "patch",
    "mm_vision_select_layer": -2,
    "mm_vision_tower": "openai/clip-vit-large-patch14-336",
    "model_type": "llava",
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "num_key_value_heads": 4,
    "pad_token_id": 0,
    "rms_norm_eps": 1e-05,
    "torch_dtype": "float16",
    "vocab_size": V,
}


def main():
    clip_config = CLIPConfig(
        vision_config=vision(image_size=24, patch_size=8).to_dict(),
        text_config={
            "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2,
            "vocab_size": 60, "max_position_embeddings": 12, "eos_token_id": 59, "bos_token_id": 58,
        },
        projection_dim=10,
    )
    config = LlavaConfig(
        vision_config=vision(image_size=24, patch_size=8).to_dict(),
        text_config=text(rms_norm_eps=1e-5, vocab_size=V).to_dict(),
        image_token_index=V,
        image_seq_length=P,
    )
    config._attn_implementation = "eager"
    for seed in range(100):
        model = LlavaForConditionalGeneration(config).eval()
        randomize(model, seed, torch.float16)
        clip = CLIPModel(clip_config).eval()
        randomize(clip, seed, torch.float16)
        tower = model.model.vision_tower.state_dict()
        clip.vision_model.load_state_dict(tower, strict=False)
        state = {k: v.half() for k, v in model.state_dict().items()}
        model = model.double()
        generator = torch.Generator().manual_seed(seed)
        pixels = torch.randn(1, 3, 24, 24, generator=generator, dtype=torch.float64)
        words = torch.randint(3, V, (8,), generator=generator).tolist()
        ids = [1, *words[:4], *[V] * P, *words[4:]]
        features = torch.stack(list(model.get_image_features(pixels, return_dict=True).pooler_output))
        before, after = (model.get_input_embeddings()(torch.tensor([part])) for part in (ids[:5], ids[5 + P :]))
        embeddings = torch.cat([before, features, after], 1)
        positions = torch.arange(embeddings.shape[1])[None]
        margins = []
        logits = decode(model, embeddings, positions)[1]
        tokens = greedy(model, embeddings, positions, embeddings.shape[1], margins)
        if min(margins) > 2e-3 and len(set(tokens[0].tolist())) >= 4:
            break

    root = HERE / "convert"
    published = publish(state)
    folders = {name: root / name for name in ("authors", "clip", "pickled")}
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)

    (folders["pickled"] / "config.json").write_text(json.dumps(config.to_dict(), indent=2) + "\n")
    torch.save(published, folders["pickled"] / "pytorch_model.bin")

    clip_state = {k: v.half() for k, v in clip.state_dict().items()}
    (folders["clip"] / "config.json").write_text(json.dumps(clip_config.to_dict(), indent=2) + "\n")
    torch.save(clip_state, folders["clip"] / "pytorch_model.bin")

    authors = {}
    for name, tensor in published.items():
        if name.startswith("vision_tower."):
            continue
        name = name.replace("multi_modal_projector.linear_1", "model.mm_projector.0")
        name = name.replace("multi_modal_projector.linear_2", "model.mm_projector.2")
        authors[name.removeprefix("language_model.")] = tensor
    names = list(authors)
    shards = {"pytorch_model-00001-of-00002.bin": names[::2], "pytorch_model-00002-of-00002.bin": names[1::2]}
    for file, own in shards.items():
        torch.save({name: torch.nn.Parameter(authors[name]) for name in own}, folders["authors"] / file)
    index = {
        "metadata": {"total_size": sum(t.numel() * 2 for t in authors.values())},
        "weight_map": {name: file for file, own in shards.items() for name in own},
    }
    (folders["authors"] / "pytorch_model.bin.index.json").write_text(json.dumps(index, indent=2) + "\n")
    (folders["authors"] / "config.json").write_text(json.dumps(AUTHORS, indent=2) + "\n")

    expected = {
        "pixel_values": pixels.float(),
        "input_ids": torch.tensor([ids], dtype=torch.int32),
        "logits": logits.float(),
        "tokens": tokens.int(),
    }
    save_file(expected, root / "expected.safetensors", metadata=VERSIONS | {"script": "test/golden/make_convert.py"})
    print("seed", seed, "margin", min(margins))


if __name__ == "__main__":
    with torch.no_grad():
        main()
