"""The same shapes and weights in ONNX Runtime: graphs written node by node, with its own fused attention."""

import os

import protocol  # first: it keeps stdout for the replies
import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from protocol import fill

threads = os.cpu_count()
FLOAT, INT32 = TensorProto.FLOAT, TensorProto.INT32


class Graph:
    """Nodes in the order they run. Weights stay outside of the graph, so that no 2 GiB limit binds it."""

    def __init__(self):
        self.nodes, self.constants, self.weights = [], [], {}

    def op(self, kind, *inputs, outputs=1, domain="", **attributes):
        names = [f"{kind}.{len(self.nodes)}.{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, inputs, names, domain=domain, **attributes))
        return names[0] if outputs == 1 else names

    def fused(self, kind, *inputs, **options):
        return self.op(kind, *inputs, domain="com.microsoft", **options)

    def constant(self, *values):
        name = f"constant.{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.array(values, np.int64), name))
        return name

    def weight(self, name, values):
        self.weights[name] = values
        return name

    def linear(self, x, name):
        """x W^T + b: [T, in] -> [T, out], with the checkpoint's own W [out, in]."""
        parts = [part for part in (f"{name}.weight", f"{name}.bias") if part in self.weights]
        return self.op("Gemm", x, *parts, transB=1)

    def layer_norm(self, x, name, epsilon):
        return self.op("LayerNormalization", x, f"{name}.weight", f"{name}.bias", epsilon=epsilon)

    def rms_norm(self, x, name, epsilon):
        return self.op("SimplifiedLayerNormalization", x, f"{name}.weight", epsilon=epsilon)

    def session(self, inputs, outputs):
        """inputs: name -> (type, shape); outputs: names."""
        initializers = list(self.constants)
        for name, values in self.weights.items():
            outside = TensorProto(
                name=name, data_type=FLOAT, dims=values.shape, data_location=TensorProto.EXTERNAL
            )
            outside.external_data.add(key="location", value="the benchmark's pool")
            initializers.append(outside)
        graph = helper.make_graph(
            self.nodes,
            "bench",
            [helper.make_tensor_value_info(name, *kind) for name, kind in inputs.items()],
            [helper.make_tensor_value_info(name, FLOAT, None) for name in outputs],
            initializers,
        )
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        # Between two runs its threads would otherwise spin in the other runners' way.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        values = [onnxruntime.OrtValue.ortvalue_from_numpy(values) for values in self.weights.values()]
        options.add_external_initializers(list(self.weights), values)
        return onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])


def with_weights(request, prefix=""):
    graph = Graph()
    for recipe in request["weights"]:
        graph.weight(recipe["name"].removeprefix(prefix), fill(recipe))
    return graph


def runner(graph, output, **inputs):
    """Runs the graph on the same inputs each time."""
    kinds = {name: (FLOAT, values.shape) for name, values in inputs.items()}
    session = graph.session(kinds, [output])
    feeds = {name: onnxruntime.OrtValue.ortvalue_from_numpy(values) for name, values in inputs.items()}
    return lambda variant: session.run_with_ort_values([output], feeds)[0].numpy()


def prepare_linear(request):
    graph = with_weights(request)
    name = request["weights"][0]["name"].removesuffix(".weight")
    return runner(graph, graph.linear("x", name), x=fill(request["input"]))


def prepare_attention(request):
    q, k, v = (fill(recipe) for recipe in request["inputs"])  # [1, H, T, C]
    _, H, T, C = q.shape
    graph = Graph()
    context = graph.fused("MultiHeadAttention", "q", "k", "v", num_heads=H)
    heads = graph.op("Reshape", context, graph.constant(1, T, H, C))
    output = graph.op("Transpose", heads, perm=[0, 2, 1, 3])
    return runner(graph, output, q=np.ascontiguousarray(q.transpose(0, 2, 1, 3)).reshape(1, T, H * C), k=k, v=v)


def prepare_norm(request):
    graph = with_weights(request)
    name = request["weights"][0]["name"].removesuffix(".weight")
    return runner(graph, graph.layer_norm("x", name, 1e-5), x=fill(request["input"]))


def prepare_matmul(request):
    a, b = (fill(recipe) for recipe in request["inputs"])
    graph = Graph()
    return runner(graph, graph.op("MatMul", "a", "b"), a=a, b=b)


def prepare_sum(request):
    graph = Graph()
    return runner(graph, graph.op("ReduceSum", "x", keepdims=1), x=fill(request["input"]))


def prepare_vision(request):
    """CLIP's tower, of as many layers as are run; the output is before the post-layer-norm."""
    config, epsilon = request["config"], request["config"]["layer_norm_eps"]
    D, H, patch = config["hidden_size"], config["num_attention_heads"], config["patch_size"]
    P = (config["image_size"] // patch) ** 2
    graph = with_weights(request, "vision_model.")
    pixels = np.ascontiguousarray(fill(request["input"]).transpose(0, 3, 1, 2))
    graph.weights["embeddings.class_embedding"].shape = (1, D)

    patches = graph.op("Conv", "pixels", "embeddings.patch_embedding.weight", strides=[patch, patch])
    columns = graph.op("Reshape", patches, graph.constant(D, P))
    tokens = graph.op("Concat", "embeddings.class_embedding", graph.op("Transpose", columns), axis=0)  # [N, D]
    x = graph.op("Add", tokens, "embeddings.position_embedding.weight")
    x = graph.layer_norm(x, "pre_layrnorm", epsilon)
    batch, rows = graph.constant(1, P + 1, D), graph.constant(P + 1, D)
    for layer in (f"encoder.layers.{l}" for l in range(request["layers"])):
        y = graph.layer_norm(x, f"{layer}.layer_norm1", epsilon)
        qkv = (graph.linear(y, f"{layer}.self_attn.{part}_proj") for part in "qkv")
        context = graph.fused(
            "MultiHeadAttention", *(graph.op("Reshape", part, batch) for part in qkv), num_heads=H
        )
        y = graph.linear(graph.op("Reshape", context, rows), f"{layer}.self_attn.out_proj")
        x = graph.op("Add", x, y)
        y = graph.linear(graph.layer_norm(x, f"{layer}.layer_norm2", epsilon), f"{layer}.mlp.fc1")
        y = graph.linear(graph.fused("QuickGelu", y, alpha=1.702), f"{layer}.mlp.fc2")
        x = graph.op("Add", x, y)
    return runner(graph, x, pixels=pixels)


class Llama:
    """Prompt or single token: [T, E] and each layer's cache -> the last token's logits and the longer caches."""

    def __init__(self, request):
        self.config = config = request["config"]
        self.layers = config["num_hidden_layers"]
        graph = with_weights(request, "model.")
        self.table = graph.weights.pop("embed_tokens.weight")
        E, H, G = config["hidden_size"], config["num_attention_heads"], config["num_key_value_heads"]
        C, epsilon = config["head_dim"], config["rms_norm_eps"]
        angles = np.outer(
            np.arange(config["max_position_embeddings"]),
            10000.0 ** (-np.arange(0, C, 2) / C),  # transformers' default base
        )
        rope = [graph.weight(f.__name__, f(angles).astype(np.float32)) for f in (np.cos, np.sin)]

        x, self.presents = "x", []
        flat = graph.constant(-1, H * C)
        for l in range(self.layers):
            layer = f"layers.{l}"
            y = graph.rms_norm(x, f"{layer}.input_layernorm", epsilon)
            qkv = (graph.linear(y, f"{layer}.self_attn.{part}_proj") for part in "qkv")
            context, key, value = graph.fused(
                "GroupQueryAttention",
                *(graph.op("Unsqueeze", part, graph.constant(0)) for part in qkv),
                f"key.{l}",
                f"value.{l}",
                "last",
                "total",
                *rope,
                outputs=3,
                num_heads=H,
                kv_num_heads=G,
                do_rotary=1,
            )
            self.presents += [key, value]
            y = graph.linear(graph.op("Reshape", context, flat), f"{layer}.self_attn.o_proj")
            x = graph.op("Add", x, y)
            y = graph.rms_norm(x, f"{layer}.post_attention_layernorm", epsilon)
            gate = graph.fused("QuickGelu", graph.linear(y, f"{layer}.mlp.gate_proj"), alpha=1.0)  # SiLU
            y = graph.op("Mul", gate, graph.linear(y, f"{layer}.mlp.up_proj"))
            x = graph.op("Add", x, graph.linear(y, f"{layer}.mlp.down_proj"))
        x = graph.rms_norm(graph.op("Gather", x, graph.constant(-1)), "norm", epsilon)
        self.logits = graph.linear(x, "lm_head")
        caches = {name: (FLOAT, [1, G, "L", C]) for name in self.cache_names()}
        self.session = graph.session(
            {"x": (FLOAT, ["T", E]), "last": (INT32, [1]), "total": (INT32, [1]), **caches},
            [self.logits, *self.presents],
        )
        self.empty = [np.zeros((1, G, 0, C), np.float32)] * (2 * self.layers)

    def cache_names(self):
        return [f"{part}.{l}" for l in range(self.layers) for part in ("key", "value")]

    def start(self):
        return [onnxruntime.OrtValue.ortvalue_from_numpy(empty) for empty in self.empty]

    def run(self, x, cache):
        total = cache[0].shape()[2] + len(x)
        inputs = {"x": x, "last": np.array([total - 1], np.int32), "total": np.array([total], np.int32)}
        feeds = {name: onnxruntime.OrtValue.ortvalue_from_numpy(values) for name, values in inputs.items()}
        feeds |= dict(zip(self.cache_names(), cache))
        logits, *longer = self.session.run_with_ort_values([self.logits, *self.presents], feeds)
        return logits.numpy(), longer


def prepare_prefill(request):
    model, _ = protocol.held[request["model"]]
    x = fill(request["input"])[0]
    return lambda variant: model.run(x, model.start())[0]


def prepare_decode(request):
    """Reads the prompt once; every run then writes further tokens, and the cache grows as ours does."""
    model, _ = protocol.held[request["model"]]
    prompt, cache = model.run(fill(request["input"])[0], model.start())

    def run(variant):
        nonlocal cache
        tokens = [prompt[-1].argmax()]
        for _ in range(request["tokens"]):
            logits, cache = model.run(model.table[tokens[-1:]], cache)
            tokens.append(logits[-1].argmax())
        return np.array(tokens)

    return run


protocol.serve(
    {name.removeprefix("prepare_"): make for name, make in globals().items() if name.startswith("prepare_")}
    | {"llama": Llama},
    version=f"ONNX Runtime {onnxruntime.__version__}",
    threads=threads,
)
