"""The process that holds the model: it serves llama.cpp on a private socket until its standard input ends.

Run by its path, so that it imports xllamacpp and nothing of ours. Knows nothing of prompts, accounts or restarts: its
parent talks HTTP to the socket. Standard input is its lifeline: when the parent closes it or dies, the worker goes.
"""

import json
import os
import resource
import shutil
import sys
from typing import Any


def main() -> None:
    """One JSON object in, `{"ready": address}` or `{"error": reason}` out, then wait for the end of input.

    `lacking` beside the reason: it is not the model, but a library of the system that is not there.
    """
    settings = json.loads(sys.stdin.buffer.readline())
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold people's prompts
    os.umask(0o077)
    try:
        server = _serve(settings)
    except ImportError as error:
        print(json.dumps({"error": str(error), "lacking": True}), flush=True)
        os._exit(1)
    except Exception as error:  # the reason itself is on standard error, written by llama.cpp
        print(json.dumps({"error": str(error)}), flush=True)
        sys.stdin.buffer.read()  # by a thread, in its own time; the parent ends the input when it has read it
        os._exit(1)
    print(json.dumps({"ready": server.listening_address}), flush=True)
    sys.stdin.buffer.read()
    shutil.rmtree(os.path.dirname(settings["socket"]), ignore_errors=True)  # a parent that was killed cannot
    os._exit(0)  # nothing to save; destructors would only wait for running requests


def _serve(settings: dict[str, Any]) -> Any:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = settings["model"]
    if settings["adapter"]:
        adapter = xllamacpp.CommonAdapterLoraInfo()
        adapter.path, adapter.scale = settings["adapter"], 1.0
        params.lora_adapters = [adapter]
    params.hostnames = [settings["socket"]]
    params.n_parallel = settings["slots"]
    params.n_ctx = settings["context"]
    params.kv_unified = True  # the slots share one context instead of owning a fixed share each
    params.n_batch = settings["batch"]
    params.n_ubatch = settings["batch"]
    kind = {"q8_0": "GGML_TYPE_Q8_0"}.get(settings["cache"], "GGML_TYPE_F16")
    params.cache_type_k = params.cache_type_v = getattr(xllamacpp.ggml_type, kind)
    for cpu in (params.cpuparams, params.cpuparams_batch):
        cpu.n_threads = settings["threads"]
    # Read, not mapped: repacked weights would lie in memory twice, and mapped ones can be pushed out under load.
    params.load_mode = xllamacpp.llama_load_mode.LLAMA_LOAD_MODE_NONE
    params.cache_ram_mib = 0  # the default keeps up to 8 GiB of old prompts
    params.n_ctx_checkpoints = 0
    params.fit_params = False  # would load the model twice
    params.ui = False
    params.verbosity = 1  # errors only: prompts stay out of logs
    return xllamacpp.Server(params)


main()
