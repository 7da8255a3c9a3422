"""The same shapes and weights in PyTorch and Hugging Face transformers; a variant is how attention is computed."""

import os

import protocol  # first: it keeps stdout for the replies
import torch
import torch.nn.functional as F
import transformers
from transformers import CLIPVisionConfig, CLIPVisionModel, LlamaConfig, LlamaForCausalLM
from transformers.cache_utils import DynamicCache

transformers.logging.set_verbosity_error()
torch.set_num_threads(os.cpu_count())
torch.set_grad_enabled(False)
# Every weight is overwritten: initialising them would only take time.
torch.nn.Linear.reset_parameters = lambda self: None
torch.nn.Embedding.reset_parameters = lambda self: None
for model_class in (CLIPVisionModel, LlamaForCausalLM):
    model_class.init_weights = lambda self: self.tie_weights() if self.config.__dict__.get("tie_word_embeddings") else None


def fill(recipe):
    return torch.from_numpy(protocol.fill(recipe))


def load(model, recipes, prefix):
    """Copies the recipes' values in; every recipe must find its parameter."""
    parameters = {name.removeprefix(prefix): p for name, p in model.named_parameters()}
    for recipe in recipes:
        target = parameters[recipe["name"].removeprefix(prefix)]
        target.data = fill(recipe).reshape(target.shape)
    return model.eval()


def prepare_linear(request):
    weight, bias = (fill(recipe) for recipe in request["weights"])
    x = fill(request["input"])
    return lambda variant: F.linear(x, weight, bias)


def prepare_attention(request):
    q, k, v = (fill(recipe) for recipe in request["inputs"])
    scale = q.shape[-1] ** -0.5

    def run(variant):
        if variant == "sdpa":
            return F.scaled_dot_product_attention(q, k, v)
        return torch.matmul(torch.softmax(torch.matmul(q, k.transpose(2, 3)) * scale, dim=-1), v)

    return run


def prepare_norm(request):
    weight, bias = (fill(recipe) for recipe in request["weights"])
    x = fill(request["input"])
    return lambda variant: F.layer_norm(x, weight.shape, weight, bias, 1e-5)


def prepare_matmul(request):
    a, b = (fill(recipe) for recipe in request["inputs"])
    return lambda variant: a @ b


def prepare_sum(request):
    x = fill(request["input"])
    return lambda variant: x.sum().reshape(1)


def prepare_vision(request):
    """A tower of as many layers as are run: hidden[-2] of L layers is the last of L - 1."""
    config = CLIPVisionConfig(**{**request["config"], "num_hidden_layers": request["layers"]})
    model = load(CLIPVisionModel(config), request["weights"], "vision_model.")
    pixels = fill(request["input"]).permute(0, 3, 1, 2).contiguous()

    def run(variant):
        use(model, variant)
        return model(pixel_values=pixels).last_hidden_state  # before the post-layer-norm

    return run


def prepare_llama(request):
    config = LlamaConfig(**request["config"])
    model = load(LlamaForCausalLM(config), request["weights"], "model.")
    if "dtype" in request:  # weights that a bfloat16 file holds, in this type
        for parameter in model.parameters():  # not RoPE's frequencies
            parameter.data = parameter.data.to(torch.bfloat16).to(getattr(torch, request["dtype"]))
    return model


def prepare_prefill(request):
    model, _ = protocol.held[request["model"]]
    x = fill(request["input"]).to(model.dtype)

    def run(variant):
        use(model, variant)
        return model(inputs_embeds=x, use_cache=True, logits_to_keep=1).logits.float()

    return run


def prepare_decode(request):
    """Reads the prompt once; every run then writes further tokens, and the cache grows as ours does."""
    model, _ = protocol.held[request["model"]]
    x = fill(request["input"]).to(model.dtype)
    use(model, request["variant"])
    cache = DynamicCache(config=model.config)
    prompt = model(inputs_embeds=x, use_cache=True, past_key_values=cache, logits_to_keep=1).logits

    def run(variant):
        use(model, variant)
        token = prompt[:, -1].argmax(-1, keepdim=True)
        tokens = [token]
        for _ in range(request["tokens"]):
            logits = model(input_ids=token, use_cache=True, past_key_values=cache, logits_to_keep=1).logits
            token = logits[:, -1].argmax(-1, keepdim=True)
            tokens.append(token)
        return torch.cat(tokens, -1)

    return run


def use(model, variant):
    if model.config._attn_implementation != variant:
        model.set_attn_implementation(variant)


protocol.serve(
    {name.removeprefix("prepare_"): make for name, make in globals().items() if name.startswith("prepare_")},
    version=f"PyTorch {torch.__version__}, transformers {transformers.__version__}",
    threads=torch.get_num_threads(),
    around=torch.inference_mode,
)
