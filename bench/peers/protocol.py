"""What the peers share: the weights' pool, and one JSON request a line on stdin with one JSON reply a line on stdout.

A peer is a child process of the benchmark, so that its runs interleave with ours. Times are taken here, around the call
alone. Weights come from the benchmark's pool by the same recipes as ours (bench/weights.ts): they are the same numbers.
"""

import contextlib
import json
import os
import sys
import time

replies = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # whatever a library prints goes to stderr

import numpy as np  # noqa: E402

pool = None
held = {}  # key -> what `prepare` made


def fill(recipe):
    """value[i] = mean + deviation * pool[(offset + i) mod length]"""
    size = int(np.prod(recipe["shape"]))
    begin = recipe["offset"]
    tiled = np.resize(np.concatenate([pool[begin:], pool[:begin]]), size)
    values = np.float32(recipe["mean"]) + np.float32(recipe["deviation"]) * tiled
    return values.reshape(recipe["shape"])


def serve(prepare, version, threads, around=contextlib.nullcontext):
    """Answers until stdin ends.

    prepare: kind -> a function of the request. What it returns is held under the request's key; where that is a
    function of the variant, it is what runs and returns an array.
    """
    for line in sys.stdin:
        try:
            reply = answer(json.loads(line), prepare, around)
            reply |= {"version": version, "threads": threads, "cpuSeconds": time.process_time()}
        except Exception as error:  # the benchmark prints it
            reply = {"error": f"{type(error).__name__}: {error}"}
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


def answer(request, prepare, around):
    global pool
    key = request.get("key")
    match request["op"]:
        case "hello":
            pool = np.fromfile(request["pool"], dtype="<f4")
        case "prepare":
            made, users = held[key] if key in held else (prepare[request["kind"]](request), 0)
            held[key] = made, users + 1
        case "run":
            run, _ = held[key]
            reset_peak()
            started = time.perf_counter()
            with around():
                result = run(request["variant"])
            milliseconds = 1000 * (time.perf_counter() - started)
            digest = result.reshape(-1)[-request["count"] :].tolist()
            return {"milliseconds": milliseconds, "digest": digest, "peakBytes": read_peak()}
        case "dispose" if key in held:
            made, users = held.pop(key)
            if users > 1:
                held[key] = made, users - 1
    return {}


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
