"""The same shapes and weights in PyTorch and Hugging Face transformers.

A child process of the benchmark: one JSON request a line on stdin, one JSON reply a line on stdout, so that its runs
interleave with ours. Times are taken here, around the call alone. Weights come from the benchmark's pool by the same
recipes as ours (bench/weights.ts): they are the same numbers.
"""

import json
import os
import sys
import time

replies = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # whatever a library prints goes to stderr

import numpy as np  # noqa: E402
import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
import transformers  # noqa: E402
from transformers import CLIPVisionConfig, CLIPVisionModel, LlamaConfig, LlamaForCausalLM  # noqa: E402
from transformers.cache_utils import DynamicCache  # noqa: E402

transformers.logging.set_verbosity_error()
torch.set_num_threads(os.cpu_count())
torch.set_grad_enabled(False)
# Every weight is overwritten: initialising them would only take time.
torch.nn.Linear.reset_parameters = lambda self: None
torch.nn.Embedding.reset_parameters = lambda self: None
for model_class in (CLIPVisionModel, LlamaForCausalLM):
    model_class.init_weights = lambda self: self.tie_weights() if self.config.__dict__.get("tie_word_embeddings") else None

pool = None
held = {}  # key -> what `prepare` made; eager and SDPA share one


def fill(recipe):
    size = int(np.prod(recipe["shape"]))
    begin = recipe["offset"]
    tiled = np.resize(np.concatenate([pool[begin:], pool[:begin]]), size)
    values = np.float32(recipe["mean"]) + np.float32(recipe["deviation"]) * tiled
    return torch.from_numpy(values).reshape(recipe["shape"])


def load(model, recipes, prefix):
    """Copies the recipes' values in; every recipe must find its parameter."""
    parameters = {name.removeprefix(prefix): p for name, p in model.named_parameters()}
    for recipe in recipes:
        target = parameters[recipe["name"].removeprefix(prefix)]
        target.data = fill(recipe).reshape(target.shape)
    return model.eval()


def prepare_linear(request):
    inner, out, rows = request["inner"], request["out"], request["rows"]
    weight, bias = (fill(recipe) for recipe in request["weights"])
    x = fill(request["input"])
    return {"run": lambda attn: F.linear(x, weight, bias)}


def prepare_attention(request):
    q, k, v = (fill(recipe) for recipe in request["inputs"])
    scale = q.shape[-1] ** -0.5

    def run(attn):
        if attn == "sdpa":
            return F.scaled_dot_product_attention(q, k, v)
        return torch.matmul(torch.softmax(torch.matmul(q, k.transpose(2, 3)) * scale, dim=-1), v)

    return {"run": run}


def prepare_norm(request):
    weight, bias = (fill(recipe) for recipe in request["weights"])
    x = fill(request["input"])
    return {"run": lambda attn: F.layer_norm(x, weight.shape, weight, bias, 1e-5)}


def prepare_matmul(request):
    a, b = (fill(recipe) for recipe in request["inputs"])
    return {"run": lambda attn: a @ b}


def prepare_sum(request):
    x = fill(request["input"])
    return {"run": lambda attn: x.sum().reshape(1)}


def prepare_vision(request):
    """A tower of as many layers as are run: hidden[-2] of L layers is the last of L - 1."""
    config = CLIPVisionConfig(**{**request["config"], "num_hidden_layers": request["layers"]})
    model = load(CLIPVisionModel(config), request["weights"], "vision_model.")
    pixels = fill(request["input"]).permute(0, 3, 1, 2).contiguous()

    def run(attn):
        use(model, attn)
        return model(pixel_values=pixels).last_hidden_state  # before the post-layer-norm

    return {"run": run}


def prepare_llama(request):
    config = LlamaConfig(**request["config"])
    return {"model": load(LlamaForCausalLM(config), request["weights"], "model.")}


def prepare_prefill(request):
    model = held[request["model"]]["model"]
    x = fill(request["input"])

    def run(attn):
        use(model, attn)
        return model(inputs_embeds=x, use_cache=True, logits_to_keep=1).logits

    return {"run": run}


def prepare_decode(request):
    """Reads the prompt once; every run then writes further tokens, and the cache grows as ours does."""
    model = held[request["model"]]["model"]
    x = fill(request["input"])
    use(model, request["attn"])
    cache = DynamicCache(config=model.config)
    prompt = model(inputs_embeds=x, use_cache=True, past_key_values=cache, logits_to_keep=1).logits

    def run(attn):
        token = prompt[:, -1].argmax(-1, keepdim=True)
        tokens = [token]
        for _ in range(request["tokens"]):
            logits = model(input_ids=token, use_cache=True, past_key_values=cache, logits_to_keep=1).logits
            token = logits[:, -1].argmax(-1, keepdim=True)
            tokens.append(token)
        return torch.cat(tokens, -1)

    return {"run": run}


def use(model, attn):
    if model.config._attn_implementation != attn:
        model.set_attn_implementation(attn)


def reset_peak():
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    except OSError:
        pass  # not Linux


def read_peak():
    try:
        with open("/proc/self/status") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))
    except OSError:
        return 0


def answer(request):
    global pool
    match request["op"]:
        case "hello":
            pool = np.fromfile(request["pool"], dtype="<f4")
            version = f"PyTorch {torch.__version__}, transformers {transformers.__version__}"
            return {"version": version, "threads": torch.get_num_threads()}
        case "prepare":
            if request["key"] not in held:
                held[request["key"]] = {**globals()[f"prepare_{request['kind']}"](request), "users": 0}
            held[request["key"]]["users"] += 1
            return {}
        case "run":
            run = held[request["key"]]["run"]
            reset_peak()
            started = time.perf_counter()
            with torch.inference_mode():
                result = run(request["attn"])
            milliseconds = 1000 * (time.perf_counter() - started)
            digest = result.reshape(-1)[-request["count"] :].tolist()
            return {"milliseconds": milliseconds, "digest": digest, "peakBytes": read_peak()}
        case "dispose":
            if request["key"] in held:
                held[request["key"]]["users"] -= 1
                if held[request["key"]]["users"] == 0:
                    del held[request["key"]]
            return {}


for line in sys.stdin:
    try:
        reply = answer(json.loads(line)) | {"cpuSeconds": time.process_time()}
    except Exception as error:  # the benchmark prints it
        reply = {"error": f"{type(error).__name__}: {error}"}
    replies.write(json.dumps(reply) + "\n")
    replies.flush()
