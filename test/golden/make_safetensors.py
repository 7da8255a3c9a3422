"""Golden files for test/io, made by Python's own safetensors library.

    python test/golden/make_safetensors.py

writes test/golden/safetensors/. Made with safetensors 0.8.0, torch 2.13.0 and numpy 2.4.6.
"""

import base64
import json
import math
import random
import struct
from pathlib import Path

import numpy as np
import safetensors
import torch
from safetensors.torch import save_file

out = Path(__file__).parent / "safetensors"
(out / "sharded").mkdir(parents=True, exist_ok=True)
rng = np.random.default_rng(7)


def write_json(name, value):
    (out / name).write_text(json.dumps(value, indent=1) + "\n")


# Float32 values that are hard to narrow: around every rounding step, limit and special value.
bits = [0, 1, 0x7FFFFF, 0x800000, 0x33000000, 0x33000001, 0x33800000, 0x33BFFFFF, 0x33C00000, 0x387FC000,
        0x387FE000, 0x387FFFFF, 0x38800000, 0x3F800000, 0x3F801000, 0x3F801001, 0x3F803000, 0x3F807FFF,
        0x3F808000, 0x3F818000, 0x477FE000, 0x477FEFFF, 0x477FF000, 0x7F7F7FFF, 0x7F7F8000, 0x7F7FFFFF, 0x7F800000]
bits += [int(b) for b in rng.integers(0x32000000, 0x48000000, 100)]
hard = torch.from_numpy(np.array(bits + [b | 0x80000000 for b in bits], dtype=np.uint32).view(np.float32))

tensors = {
    "hard.f32": hard,
    "hard.f16": hard.to(torch.float16),
    "hard.bf16": hard.to(torch.bfloat16),
    "f64": torch.tensor([[1 / 3, -1e300, 1e-300], [float("inf"), 0.1, -0.0]], dtype=torch.float64),
    "i64": torch.tensor([-(2**31), 2**31 - 1, 0, -1], dtype=torch.int64),
    "u64": torch.tensor([[0, 2**31 - 1]], dtype=torch.uint64),
    "i32": torch.tensor([[[-(2**31)], [16777217]]], dtype=torch.int32),
    "u32": torch.tensor([0, 2**31 - 1], dtype=torch.uint32),
    "i16": torch.tensor([-32768, 32767, 5], dtype=torch.int16),
    "u16": torch.tensor([0, 65535, 7], dtype=torch.uint16),
    "i8": torch.tensor([-128, 127, 3], dtype=torch.int8),
    "u8": torch.tensor([0, 255, 9], dtype=torch.uint8),
    "bool": torch.tensor([True, False, True], dtype=torch.bool),
    "scalar": torch.tensor(2.5),
    "empty": torch.zeros(2, 0, 3),
    "__proto__": torch.tensor([1.0]),
    'Größe "π"\t': torch.tensor([1.0, 2.0]),
    "\U0001f600": torch.tensor([1.0]),  # sorts after the next by UTF-8, before it by UTF-16
    "\ufb01": torch.tensor([2.0]),
}
save_file(tensors, out / "dtypes.safetensors", metadata={"format": "pt"})
save_file({"a": hard[:6].reshape(2, 3), "b": tensors["i16"]}, out / "plain.safetensors")


def values(tensor):
    as_float32 = tensor.to(torch.float32).numpy().view(np.uint32).flatten().tolist()
    is_float = tensor.dtype.is_floating_point
    return {
        "dtype": str(tensor.dtype),
        "shape": list(tensor.shape),
        "float32Bits": as_float32,
        "integers": None if is_float else [int(x) for x in tensor.flatten().tolist()],
    }


write_json("dtypes.json", {name: values(tensor) for name, tensor in tensors.items()})

shards = {
    "model-00001-of-00002.safetensors": {"embed": torch.arange(6.0).reshape(2, 3), "norm": torch.ones(3)},
    "model-00002-of-00002.safetensors": {"head": torch.arange(4, dtype=torch.float16)},
}
for shard, content in shards.items():
    save_file(content, out / "sharded" / shard, metadata={"format": "pt"})
index = {
    "metadata": {"total_size": 44},
    "weight_map": {name: shard for shard, content in shards.items() for name in content},
}
write_json("sharded/model.safetensors.index.json", index)

# What the library says of headers that are wrong, odd or merely unusual, each over 8 bytes of data.
F = '"dtype":"F32","shape":[2],"data_offsets":[0,8]'
headers = [
    "", "{", "[]", "null", "{}", " {" + f'"a":{{{F}}}' + "}", f'{{"a":{{{F}}}}}', f'{{"a":{{{F}}}}}   ',
    f'{{"a":{{{F}}}}}\n', f'{{"a":{{{F}}}}}x', f'{{"a":{{{F}}},}}', f'{{"a":{{{F}}},"a":{{{F}}}}}',
    f'{{"a":{{{F},"shape":[2]}}}}', f'{{"a":{{{F},"extra":1}}}}', f'{{"":{{{F}}}}}', f'{{"\\ud800":{{{F}}}}}',
    f'{{"\\ud83d\\ude00":{{{F}}}}}', f'{{"__proto__":{{{F}}}}}',
    f'{{"__metadata__":{{}},"a":{{{F}}}}}', f'{{"__metadata__":null,"a":{{{F}}}}}',
    f'{{"__metadata__":[],"a":{{{F}}}}}', f'{{"__metadata__":{{"k":1}},"a":{{{F}}}}}',
    f'{{"__metadata__":{{"k":"v"}},"a":{{{F}}}}}', f'{{"__metadata__":{{"k":"v","k":"w"}},"a":{{{F}}}}}',
    f'{{"__metadata__":{{"k":"\\udc00"}},"a":{{{F}}}}}', f'{{"__metadata__":{{}},"__metadata__":{{}},"a":{{{F}}}}}',
    '{"a":null}', '{"a":["F32",[2],[0,8]]}', '{"a":{"dtype":"F32","shape":[2]}}', '{"a":{"shape":[2],"data_offsets":[0,8]}}',
]
for dtype, shape, offsets in [
    ("F32", "[2,1]", "[0,8]"), ("F64", "[]", "[0,8]"), ("f32", "[2]", "[0,8]"), ("F8_E4M3", "[8]", "[0,8]"),
    ("C64", "[1]", "[0,8]"), ("F32", "[2.0]", "[0,8]"), ("F32", "[2e0]", "[0,8]"), ("F32", "[-2]", "[0,8]"),
    ("F32", "[-0]", "[0,8]"), ("F32", "[02]", "[0,8]"), ("F32", "2", "[0,8]"), ("F32", "null", "[0,8]"),
    ("F32", '["2"]', "[0,8]"), ("F32", "[2]", "[0,8,8]"), ("F32", "[2]", "[8]"), ("F32", "[2]", "[8,0]"),
    ("F32", "[2]", "[8,16]"), ("F32", "[2]", "[-8,0]"), ("F32", "[2]", "[0.0,8]"), ("F32", "[1]", "[0,4]"),
    ("F32", "[1]", "[4,8]"), ("F32", "[3]", "[0,8]"), ("F32", "[4294967296,4294967296,0]", "[0,0]"),
    ("F32", "[4294967296,4294967296]", "[0,8]"), ("F32", "[18446744073709551616]", "[0,8]"),
]:
    headers.append(f'{{"a":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}}}')
for spans in [[(0, 4), (4, 8)], [(4, 8), (0, 4)], [(0, 4), (0, 4)], [(0, 8), (4, 8)], [(0, 4), (5, 8)], [(0, 4), (8, 8)],
              [(0, 4), (4, 4), (4, 8)], [(4, 4), (0, 8)], [(0, 8), (8, 8)], [(0, 0), (0, 8)], [(0, 8), (2, 6)]]:
    entries = [f'"t{i}":{{"dtype":"U8","shape":[{e - b}],"data_offsets":[{b},{e}]}}' for i, (b, e) in enumerate(spans)]
    headers.append("{" + ",".join(entries) + "}")

verdicts = []
for header in headers:
    data = struct.pack("<Q", len(header.encode())) + header.encode() + bytes(8)
    try:
        safetensors.deserialize(data)
        verdicts.append({"header": header, "refused": None})
    except Exception as error:  # the library raises its own kind and others
        verdicts.append({"header": header, "refused": str(error)})
write_json("verdicts.json", verdicts)

# Whole files damaged by chance: fields of the header and then, of some, bytes. Verdicts only.
draw = random.Random(7)
ODD = [None, True, 0, 1, -1, 2, 1.5, 1e9, 2**32, 2**63, "", "F32", "F16", "I64", "U8", "BOOL", "x", [], {}, [0, 8], [2], [[2]]]


def damage(value):
    if not isinstance(value, (dict, list)) or not value or draw.random() < 0.1:
        return draw.choice(ODD)
    value = value.copy()
    key = draw.choice(list(value)) if isinstance(value, dict) else draw.randrange(len(value))
    kind = draw.random()
    if kind < 0.1:
        del value[key]
    elif kind < 0.2 and isinstance(value, dict):
        value[key + "_"] = value[key]
    elif kind < 0.3 and isinstance(value, list):
        value.append(value[key])
    else:
        value[key] = damage(value[key])
    return value


def damaged_file():
    at, header = 0, {"__metadata__": {"format": "pt"}} if draw.random() < 0.3 else {}
    for i in range(draw.randint(1, 3)):
        dtype, width = draw.choice([("F32", 4), ("F16", 2), ("BF16", 2), ("I64", 8), ("U8", 1), ("BOOL", 1)])
        shape = [draw.randint(0, 3) for _ in range(draw.randint(0, 2))]
        header[f"t{i}"] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at := at + width * math.prod(shape)]}
    for _ in range(draw.randint(0, 2)):
        header = damage(header)
    text = json.dumps(header, separators=(",", ":")).encode()
    file = bytearray(struct.pack("<Q", len(text)) + text + bytes(at))
    if draw.random() < 0.3:
        place = draw.randrange(len(file))
        file[place : place + draw.randint(0, 2)] = bytes(draw.randrange(256) for _ in range(draw.randint(0, 2)))
    return bytes(file)


def accepts(file):
    try:
        safetensors.deserialize(file)
        return True
    except Exception:
        return False


files = [damaged_file() for _ in range(600)]
write_json("damaged.json", [{"file": base64.b64encode(file).decode(), "accepted": accepts(file)} for file in files])

for file in out.rglob("*.safetensors"):
    file.chmod(0o644)  # the library makes them private
