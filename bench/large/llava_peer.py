"""LLaVA at its true size in Hugging Face transformers, from the same folder: one request a line, one reply a line.

A request names a folder and a dtype (`load`), or how many of the visual tokens to read (`answer`). Weights are memory-mapped by
transformers where they stay in the file's type.
"""

import json
import os
import resource
import sys
import time

replies = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)

import numpy as np  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
from transformers import LlavaForConditionalGeneration  # noqa: E402
from transformers.cache_utils import DynamicCache  # noqa: E402

transformers.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()
torch.set_num_threads(os.cpu_count())
torch.set_grad_enabled(False)
model = None


def timed(work):
    wall, cpu = time.perf_counter(), time.process_time()
    made = work()
    return made, {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}


def load(request):
    global model
    model, taken = timed(
        lambda: LlavaForConditionalGeneration.from_pretrained(
            request["dir"], dtype=getattr(torch, request["dtype"]), attn_implementation="sdpa"
        ).eval()
    )
    return {"loading": taken}


def answer(request):
    config, dtype = model.config, model.dtype
    U, written, text = request["tokens"], request["written"], request["text"]
    S = config.vision_config.image_size
    pixels = torch.from_numpy(np.fromfile(request["pixels"], dtype="<f4").reshape(1, S, S, 3)).permute(0, 3, 1, 2).to(dtype)
    half = [100 + 97 * i for i in range(text // 2)]
    ids = torch.tensor([half])

    def see():
        return model.model.vision_tower(pixels, output_hidden_states=True).hidden_states[config.vision_feature_layer][:, 1:]

    features, seeing = timed(see)
    cache = DynamicCache(config=config.text_config)

    def read():
        visual = model.model.multi_modal_projector(features[:, :U])
        words = model.get_input_embeddings()(ids)
        x = torch.cat([words, visual, words], 1)
        states = model.model.language_model(inputs_embeds=x, past_key_values=cache, use_cache=True).last_hidden_state
        return model.lm_head(states[:, -1:])

    logits, reading = timed(read)

    def write():
        token = logits[:, -1].argmax(-1, keepdim=True)
        tokens = [token]
        for _ in range(written - 1):
            x = model.get_input_embeddings()(token)
            states = model.model.language_model(inputs_embeds=x, past_key_values=cache, use_cache=True).last_hidden_state
            token = model.lm_head(states[:, -1:])[:, -1].argmax(-1, keepdim=True)
            tokens.append(token)
        return torch.cat(tokens, -1)[0].tolist()

    tokens, writing = timed(write)
    return {"seeing": seeing, "reading": reading, "writing": writing, "answer": tokens}


for line in sys.stdin:
    request = json.loads(line)
    try:
        with torch.inference_mode():
            reply = {"load": load, "answer": answer}[request["op"]](request)
        reply["peakBytes"] = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        reply["version"] = f"PyTorch {torch.__version__}, transformers {transformers.__version__}"
    except Exception as error:  # the benchmark prints it
        reply = {"error": f"{type(error).__name__}: {error}"}
    replies.write(json.dumps(reply) + "\n")
    replies.flush()
