"""Golden values for src/image/: what Pillow and transformers make of pictures drawn here.

    python test/golden/make_preprocess.py        (Pillow 12.3, transformers 5.18, NumPy)

Writes into test/golden/preprocess/:
  decode/*          small picture files of every kind that is read
  decode.json       their pixels, by Pillow: exif_transpose(Image.open(f)).convert("RGB")
  resize.json       Image.resize(..., BICUBIC) of noise and drawings, over many sizes
  processor.json    transformers' CLIP, LLaVA and SigLIP image processors (the Pillow ones) under several settings
Bytes and little-endian float32s are base64.
"""

import base64
import json
import pathlib
import shutil
import struct
import warnings
import zlib

import numpy as np
from PIL import Image, ImageCms, ImageOps
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

HERE = pathlib.Path(__file__).parent / "preprocess"
DECODE = HERE / "decode"
rng = np.random.default_rng(20240611)


def text(array):
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()


def record(image):
    return {"width": image.width, "height": image.height, "rgb": text(np.asarray(image))}


def write(name, value):
    (HERE / name).write_text(json.dumps(value, separators=(",", ":")) + "\n")


def draw(width, height):
    """Slopes, a hard-edged box and a disc: smooth parts, edges, and no symmetry."""
    y, x = np.mgrid[0:height, 0:width]
    rgb = np.stack([x * 230 // width + 20, y * 240 // height + 10, (x * y * 7) % 190 + 30], -1)
    rgb[height // 5 : height // 2, width // 6 : width // 2] = [210, 30, 45]
    rgb[(x - width * 0.7) ** 2 + (y - height * 0.6) ** 2 < (min(width, height) / 5) ** 2] = [15, 60, 235]
    return Image.fromarray(rgb.astype(np.uint8))


def noise(width, height):
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def save_png16(name, samples, colour_type):
    """Pillow writes no 16-bit RGB, so by hand."""
    height, width = samples.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    (DECODE / name).write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def swapped_profile():
    """An sRGB profile whose red and blue primaries are exchanged: applying it would be plain to see."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = struct.unpack(">I", data[128:132])[0]
    at = {bytes(data[i : i + 4]): i for i in range(132, 132 + 12 * count, 12)}
    data[at[b"rXYZ"] : at[b"rXYZ"] + 4], data[at[b"bXYZ"] : at[b"bXYZ"] + 4] = b"bXYZ", b"rXYZ"
    data[24:36] = struct.pack(">6H", 2024, 1, 1, 0, 0, 0)  # not the time of day
    return bytes(data)


def make_decode():
    image = draw(22, 14)
    grey = image.convert("L")
    y, x = np.mgrid[0:14, 0:22]
    alpha = Image.fromarray((x * 12).astype(np.uint8))

    def save(name, picture, **options):
        picture.save(DECODE / name, **options)

    def with_alpha(picture):
        picture = picture.copy()
        picture.putalpha(alpha)
        return picture

    save("rgb.png", image)
    save("grey.png", grey)
    save("one-bit.png", image.convert("1"))
    save("rgb-alpha.png", with_alpha(image))
    save("grey-alpha.png", with_alpha(grey))
    palette = image.quantize(24)
    save("palette.png", palette)
    save("palette-transparent.png", palette, transparency=palette.getpixel((5, 5)))
    save("rgb-transparent-colour.png", image, transparency=(210, 30, 45))
    rgb16 = np.stack([x * 2900 + y, y * 4600 + 255, x * y * 200 + 128], -1)
    save_png16("rgb-16bit.png", rgb16, 2)
    save_png16("rgb-alpha-16bit.png", np.concatenate([rgb16, rgb16[..., :1]], -1), 6)
    save_png16("grey-16bit.png", rgb16[..., 0], 0)
    save("animated.png", image, save_all=True, append_images=[ImageOps.invert(image)])

    save("rgb.jpg", image, quality=92)
    save("progressive.jpg", image, quality=92, progressive=True)
    save("no-subsampling.jpg", image, quality=92, subsampling=0)
    save("grey.jpg", grey, quality=92)

    cmyk = Image.fromarray(np.stack([x * 11, y * 17, 255 - x * 9, y * 9 + x * 4], -1).astype(np.uint8), "CMYK")
    save("cmyk-adobe.jpg", cmyk, quality=95)  # Pillow writes the Adobe marker and stores the ink inverted
    data = (DECODE / "cmyk-adobe.jpg").read_bytes()
    assert data[2:4] == b"\xff\xee" and data[17] == 0
    (DECODE / "cmyk-no-marker.jpg").write_bytes(data[:2] + data[18:])
    (DECODE / "ycck-adobe.jpg").write_bytes(data[:17] + b"\x02" + data[18:])

    save("lossless.webp", image, lossless=True)
    save("lossy.webp", image, quality=85)
    save("lossy-alpha.webp", with_alpha(image), quality=85)
    save("lossless-alpha.webp", with_alpha(image), lossless=True, exact=True)
    save("animated.webp", image, save_all=True, append_images=[ImageOps.invert(image)], lossless=True)

    profile = swapped_profile()
    save("profile.png", image, icc_profile=profile)
    save("profile.jpg", image, quality=92, icc_profile=profile)
    save("profile.webp", image, lossless=True, icc_profile=profile)

    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        save(f"orientation-{orientation}.jpg", image, quality=92, exif=exif)
    exif[0x0112] = 6
    save("orientation-6.png", image, exif=exif)
    save("orientation-6.webp", image, exif=exif, lossless=True)
    save("orientation-6-cmyk.jpg", cmyk, quality=95, exif=exif)

    expected = {}
    for file in sorted(DECODE.iterdir()):
        opened = ImageOps.exif_transpose(Image.open(file))
        if file.name == "grey-16bit.png":  # the high byte; Pillow's convert("RGB") would clip at 255
            opened = Image.fromarray((np.asarray(opened) >> 8).astype(np.uint8))
        expected[file.name] = record(opened.convert("RGB"))
    write("decode.json", expected)


def make_resize():
    pictures = [noise(1, 1), noise(1, 9), noise(13, 1), noise(5, 4), noise(31, 17), draw(90, 61)]
    targets = [(1, 1), (1, 7), (8, 1), (5, 4), (14, 10), (31, 17), (33, 18), (17, 40)]
    cases = []
    for picture in pictures:
        results = [record(picture.resize(size, Image.Resampling.BICUBIC)) for size in targets]
        cases.append({"input": record(picture), "results": results})
    # Black and white in columns: overshoot on both sides, which is clipped.
    row = np.tile(np.uint8([0, 0, 255, 255, 255]), 4)
    stripes = Image.fromarray(np.broadcast_to(row[None, :, None], (3, 20, 3)).copy())
    results = [record(stripes.resize(size, Image.Resampling.BICUBIC)) for size in [(47, 5), (13, 2)]]
    cases.append({"input": record(stripes), "results": results})
    # More than 100 times as tall as wide, just not so, and as wide; some targets are less tall, some are not.
    for picture in [noise(3, 301), noise(3, 300), noise(301, 3)]:
        results = [record(picture.resize(size, Image.Resampling.BICUBIC)) for size in [(16, 16), (4, 301), (4, 302), (2, 290)]]
        cases.append({"input": record(picture), "results": results})
    write("resize.json", cases)


def make_processor():
    mean, std = [0.5, 0.25, 0.125], [0.3, 0.2, 0.1]
    settings = {
        "sizes as numbers": {"size": 16, "crop_size": 16},
        "odd size": {"size": {"shortest_edge": 15}, "crop_size": {"height": 15, "width": 15}},
        "square resize, no crop": {"size": {"height": 16, "width": 16}, "do_center_crop": False},
        "crop of a larger picture": {"size": {"shortest_edge": 23}, "crop_size": 16},
        "crop of a smaller picture": {"size": {"shortest_edge": 9}, "crop_size": 16},
        "no resize": {"do_resize": False, "crop_size": 16},
        "no normalize": {"size": 16, "crop_size": 16, "do_normalize": False},
        "no rescale": {"size": 16, "crop_size": 16, "do_rescale": False},
        "bytes": {"size": 16, "crop_size": 16, "do_rescale": False, "do_normalize": False},
        "other numbers": {"size": 16, "crop_size": 16, "rescale_factor": 0.01, "image_mean": mean, "image_std": std},
        "padded": {"image_processor_type": "LlavaImageProcessor", "size": 16, "crop_size": 16, "do_pad": True},
        "padded, other mean": {
            "image_processor_type": "LlavaImageProcessor",
            "size": {"shortest_edge": 17},
            "do_center_crop": False,
            "do_pad": True,
            "image_mean": mean,
        },
    }
    siglips = {
        "SigLIP": {"image_processor_type": "SiglipImageProcessor", "size": {"height": 16, "width": 16}},
        "SigLIP, other numbers": {
            "image_processor_type": "SiglipImageProcessor",
            "size": {"height": 15, "width": 15},
            "image_mean": mean,
            "rescale_factor": 0.01,
        },
        "SigLIP, cropped": {
            "image_processor_type": "SiglipImageProcessor",
            "size": {"height": 23, "width": 23},
            "do_center_crop": True,
            "crop_size": {"height": 16, "width": 16},
        },
    }
    squashes = {
        "very tall, square resize": {"size": {"height": 16, "width": 16}, "do_center_crop": False},
        "very tall, shortest edge": {"size": {"shortest_edge": 2}, "crop_size": 16},
    }
    pictures = {"wide": draw(40, 23), "tall": draw(13, 30), "small": draw(6, 5)}
    very_tall = {"very tall": noise(3, 400)}
    cases = []
    for name, config in (settings | squashes | siglips).items():
        values = {key: value for key, value in config.items() if key != "image_processor_type"}
        kind = LlavaImageProcessorPil if config.get("do_pad") else CLIPImageProcessorPil
        kind = SiglipImageProcessorPil if name in siglips else kind
        results = {}
        for picture_name, picture in (very_tall if name in squashes else pictures).items():
            pixels = np.asarray(kind(**values)(picture, return_tensors="np")["pixel_values"][0])  # [3,S,S]
            results[picture_name] = text(pixels.transpose(1, 2, 0).astype("<f4"))
        cases.append({"name": name, "config": config, "side": pixels.shape[1], "results": results})
    write("processor.json", {"pictures": {k: record(v) for k, v in (pictures | very_tall).items()}, "cases": cases})


if __name__ == "__main__":
    warnings.simplefilter("ignore", DeprecationWarning)
    shutil.rmtree(HERE, ignore_errors=True)
    DECODE.mkdir(parents=True)
    make_decode()
    make_resize()
    make_processor()
