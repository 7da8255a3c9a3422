"""Makes downsample.safetensors: transformers' vision towers on smaller pictures, their positions interpolated.

    python test/golden/make_downsample.py

For each of two checkpoints here, FOLDER, and each grid of G' × G' patches up to its own: the golden pictures resized to
G' patches a side, `FOLDER.gG'.pixels` [B,3,S',S'], by torch's bicubic with antialiasing, whose kernel and window are
Pillow's; the interpolated position table with [CLS]'s, `.positions` [1+U,D]; and the hidden state that LLaVA takes, the
output of the last layer but one, `.hidden` [B,1+U,D], of `interpolate_pos_encoding=True`. Pixels are resized in float64
and compared with Pillow's own resizing of float pictures (mode F); the towers run in float64 but for their softmax.
"""

import json
import platform
from pathlib import Path

import numpy
import PIL
import safetensors
import torch
import torch.nn.functional as F
import transformers
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import CLIPVisionModel, LlavaForConditionalGeneration

HERE = Path(__file__).parent
VERSIONS = {
    "script": "test/golden/make_downsample.py",
    "python": platform.python_version(),
    "torch": torch.__version__,
    "transformers": transformers.__version__,
    "safetensors": safetensors.__version__,
    "pillow": PIL.__version__,
}
out = {}


def resize(pixels, side):
    """[B,3,S,S] → [B,3,side,side]; held against Pillow, channel by channel."""
    small = F.interpolate(pixels, size=(side, side), mode="bicubic", antialias=True, align_corners=False)
    for theirs, ours in zip(pixels.flatten(0, 1), small.flatten(0, 1)):
        picture = Image.fromarray(theirs.float().numpy(), mode="F").resize((side, side), Image.Resampling.BICUBIC)
        torch.testing.assert_close(torch.from_numpy(numpy.array(picture)), ours.float(), rtol=1e-4, atol=1e-5)
    return small


def tower_of(folder):
    if folder.startswith("llava"):
        model = LlavaForConditionalGeneration.from_pretrained(HERE / folder, attn_implementation="eager")
        return model.model.vision_tower
    return CLIPVisionModel.from_pretrained(HERE / folder, attn_implementation="eager")


for folder in ("clip-vision", "llava-v5keys"):
    tower = tower_of(folder).double().eval()
    pixels = load_file(HERE / folder / "expected.safetensors")["pixel_values"].double()
    patch = tower.config.patch_size
    for grid in range(1, tower.config.image_size // patch):
        small = resize(pixels, grid * patch)
        with torch.no_grad():
            seen = tower(small, interpolate_pos_encoding=True, output_hidden_states=True)
            embeddings = next(module for name, module in tower.named_modules() if name.endswith("embeddings"))
            positions = embeddings.interpolate_pos_encoding(
                torch.zeros(1, 1 + grid**2, tower.config.hidden_size), grid * patch, grid * patch
            )
        name = f"{folder}.g{grid}"
        out[f"{name}.pixels"] = small.float()
        out[f"{name}.positions"] = positions[0].float()
        out[f"{name}.hidden"] = seen.hidden_states[-2].float()

save_file({key: value.contiguous() for key, value in out.items()}, HERE / "downsample.safetensors", {"made_with": json.dumps(VERSIONS)})
print(len(out), "tensors")
