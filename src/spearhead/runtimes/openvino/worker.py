"""The process that holds a model for OpenVINO: it answers on a private socket until its standard input ends.

Stands where `runtimes.llamacpp.worker` stands and is spoken to alike. Standard input is its lifeline.
"""

import asyncio
import contextlib
import gc
import importlib
import json
import os
import resource
import shutil
import sys
import threading
from pathlib import Path
from typing import Any

VERSION = "2026.4.1"
"""The one whose paged attention was compared with llama.cpp's answers; that operation promises no other."""


def main() -> None:
    """One JSON object in, `{"ready": address}`, `{"unfit": reason}` or `{"error": reason}` out, then serve."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold people's prompts
    os.umask(0o077)
    silence()
    importlib.import_module("spearhead.runtimes.openvino.answers")  # while whoever started us is busy himself
    core = importlib.import_module("openvino").Core()
    core.get_property("CPU", "FULL_DEVICE_NAME")  # reads the library that computes; it stays while `core` does
    if not (line := sys.stdin.buffer.readline()):
        return  # whoever started us had nothing to compute
    settings = json.loads(line)
    threading.Thread(target=_lifeline, args=(settings["socket"],), daemon=True).start()
    try:
        asyncio.run(_serve(settings))
    except Exception as error:
        _say({"error": f"{type(error).__name__}: {error}".splitlines()[0][:300]})
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        os._exit(1)


def silence() -> None:
    """OpenVINO's Python package tells its makers of every import; what it does that with cannot be imported now.

    Nor can its converters of models, 10 MB that nobody needs here.
    """
    for name in ("openvino_telemetry", "openvino.tools.ovc"):
        sys.modules[name] = None  # type: ignore[assignment]


async def _serve(settings: dict[str, Any]) -> None:
    import openvino

    from spearhead.core.errors import InputError
    from spearhead.nn.gguf_header import read_header
    from spearhead.runtimes.openvino import wire
    from spearhead.runtimes.openvino.answers import Desk
    from spearhead.runtimes.openvino.batch import Batch
    from spearhead.runtimes.openvino.graph import Unfit, form
    from spearhead.runtimes.openvino.pieces import Pieces

    address = settings["socket"]
    try:
        if not openvino.get_version().startswith(VERSION):
            raise Unfit(f"OpenVINO is {openvino.get_version()}, wanted {VERSION}")
        if settings["adapter"]:
            raise Unfit("adapters are llama.cpp's")
        model = read_header(Path(settings["model"]))
        form(model)  # before anything that takes time
        pieces = asyncio.create_task(asyncio.to_thread(Pieces, model.metadata))
        batch = await asyncio.to_thread(
            Batch,
            model,
            Path(address).parent,
            context=settings["context"],
            slots=settings["slots"],
            width=settings["batch"],
            threads=settings["threads"],
            whole=settings["cache"] == "f16",
        )
        desk = Desk(batch, await pieces, context=settings["context"], key=_key(settings["watermark"]))
    except (Unfit, InputError, ValueError) as error:
        _say({"unfit": str(error)})
        os._exit(0)
    del model
    gc.collect()
    gc.freeze()
    await wire.serve(desk, address, lambda: _say({"ready": address, "reserve": batch.reserve}))


def _key(secret: str) -> Any:
    """Who draws the tokens of every answer, where somebody does."""
    if not secret:
        return None
    from spearhead.media.text.keyed import Key

    return Key(bytes.fromhex(secret))


def _say(what: dict[str, Any]) -> None:
    print(json.dumps(what), flush=True)


def _lifeline(address: str) -> None:
    sys.stdin.buffer.read()
    with contextlib.suppress(OSError):
        shutil.rmtree(os.path.dirname(address), ignore_errors=True)  # a parent that was killed cannot
    os._exit(0)


if __name__ == "__main__":
    main()
