"""One worker process from its start to its end, and how much of its context is taken. Knows nothing of prompts.

The process may be llama.cpp's server or one that speaks like it (`engines`); which it is makes no difference here.
"""

import asyncio
import contextlib
import json
import os
import re
import shutil
import tempfile
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from spearhead.core.errors import InputError
from spearhead.runtimes.failure import RuntimeFailed
from spearhead.runtimes.llamacpp import wire
from spearhead.runtimes.llamacpp.ahead import Ahead, begun
from spearhead.runtimes.llamacpp.engines import LLAMACPP, OPENVINO, Engine, Unfit, eligible, wished

_TELLING = ("error loading model: ", "failed to apply lora adapter: ")
"""What llama.cpp puts before the reason for which a model cannot be had."""
_CLOCK = re.compile(r"^[0-9.]+ E ")
"""What llama.cpp puts before each error: when, and that it is one."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How a model is held. The defaults were measured on two cores with a model of 135 M parameters."""

    context: int = 8192
    """Units that all running answers share."""
    slots: int = 16
    """How many answers run at once; more wait."""
    threads: int = 0
    """0: one for each core that this process may use, at most 8."""
    batch: int = 256
    """Prompt units evaluated in one go; more is faster for long prompts and takes memory for every one."""
    adapter: Path | None = None
    """A LoRA adapter (GGUF) that is applied over the model in every answer."""
    cache: str = ""
    """How keys and values are kept: `f16` or `q8_0` (half the memory); empty: q8_0 by OpenVINO, f16 by llama.cpp."""
    growth: int = 160 << 20
    """Bytes that a worker may grow past its size at the start before a fresh one takes over."""
    watch_seconds: float = 2.0
    """How often its size is looked at."""
    start_seconds: float = 120.0
    engine: str = ""
    """`llama.cpp` or `OpenVINO`; empty: the one that is faster on this machine, if it can compute the model."""
    watermark: bytes = field(default=b"", repr=False)
    """The secret by which most tokens are drawn, so that answers can be told by it; empty: no mark."""

    def __post_init__(self) -> None:
        if self.cache not in ("", "f16", "q8_0"):
            raise InputError(f"cache {self.cache!r} is unknown: wanted 'f16' or 'q8_0'")
        if not (1 <= self.slots <= 256 and 64 <= self.context <= 1 << 20 and 32 <= self.batch <= 4096):
            raise InputError("wanted 1..256 slots, a context of 64..1048576 and a batch of 32..4096")
        wished(self.engine)


class Moved(Exception):
    """The worker takes no new work: ask for the current one again."""


class Worker:
    """A running server on a socket of its own in a private folder. Make one with `launch`."""

    def __init__(
        self, process: asyncio.subprocess.Process, folder: Path, settings: Settings, *, engine: Engine
    ) -> None:
        self.settings = settings
        self.engine = engine
        """What computes."""
        self.note = ""
        """Why it is not the engine that is faster here; empty when it is."""
        self.socket = str(folder / "s.sock")  # llama.cpp knows a socket by this ending
        self.context = settings.context
        """The most units of one prompt and its answer."""
        self.running = 0
        """Answers that run now."""
        self.first_rss = 0
        """Resident bytes at the start, with all that it may take without having grown."""
        self._process = process
        self._folder = folder
        self._free = settings.context
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._retired = False
        self._errors: deque[str] = deque(maxlen=50)
        self._told = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._reader = asyncio.create_task(self._read_errors())

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.returncode is None

    def rss(self) -> int:
        """Resident bytes now; 0 when it is gone."""
        try:
            return int(psutil.Process(self.pid).memory_info().rss)
        except psutil.Error:
            return 0

    async def ready(self, model: Path) -> None:
        """Wait until the model is loaded; raises Unfit, or InputError when llama.cpp cannot read it."""
        values = {
            "model": str(model),
            "adapter": str(self.settings.adapter or ""),
            "socket": self.socket,
            "slots": self.settings.slots,
            "context": self.settings.context,
            "batch": self.settings.batch,
            "cache": self.settings.cache,
            "threads": self.settings.threads or min(8, _cores()),
        }
        if self.engine is OPENVINO:
            values["watermark"] = self.settings.watermark.hex()
        assert self._process.stdin is not None and self._process.stdout is not None
        with contextlib.suppress(ConnectionError):
            self._process.stdin.write(json.dumps(values).encode() + b"\n")
            await self._process.stdin.drain()
        try:
            async with asyncio.timeout(self.settings.start_seconds):
                while line := await self._process.stdout.readline():
                    with contextlib.suppress(ValueError):
                        said = json.loads(line)
                        if isinstance(said, dict) and said.keys() & {"ready", "unfit", "error"}:
                            break
                else:
                    said = {"error": "the worker ended before the model was loaded"}
        except TimeoutError:
            raise RuntimeFailed(f"{model.name}: not loaded after {self.settings.start_seconds:g} s") from None
        if "ready" not in said and self.engine is not LLAMACPP:
            raise Unfit(str(said.get("unfit") or said.get("error")))
        if said.get("lacking"):
            raise InputError(f"{LLAMACPP.name} cannot be loaded: {said['error']}: install it (on Debian: libgomp1)")
        if "ready" not in said:
            told = asyncio.create_task(self._told.wait())
            await asyncio.wait({self._reader, told}, timeout=3, return_when=asyncio.FIRST_COMPLETED)
            told.cancel()
            what = f"{model.name} with {self.settings.adapter.name}" if self.settings.adapter else model.name
            raise InputError(f"{what} cannot be loaded: {self._reason(str(said['error']))}; make or fetch it anew")
        slots = await wire.ask(self.socket, "GET", "/slots")
        listed = await wire.ask(self.socket, "GET", "/v1/models")
        trained = int(listed["data"][0]["meta"]["n_ctx_train"]) or 1 << 30
        # llama.cpp rounds a context up: nobody may ask for more than is there to be taken.
        self.context = min(self.settings.context, int(slots[0]["n_ctx"]), trained)
        self.first_rss = self.rss() + int(said.get("reserve", 0))

    async def take(self, units: int) -> None:
        """Wait, first come first served, until a slot and `units` of the context are free; raises Moved."""
        if self._retired:
            raise Moved
        if not self._waiting and self._fits(units):
            self._start(units)
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (units, turn)
        self._waiting.append(entry)
        try:
            await turn
        except BaseException:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self.give(units)  # the turn came while we were being cancelled
            else:
                with contextlib.suppress(ValueError):
                    self._waiting.remove(entry)
                self._next()
            raise

    def give(self, units: int) -> None:
        """Return what `take` took."""
        self._free += units
        self.running -= 1
        if not self.running:
            self._idle.set()
        self._next()

    def retire(self) -> None:
        """Take no new work; those who wait are told to go elsewhere."""
        self._retired = True
        while self._waiting:
            _, turn = self._waiting.popleft()
            if not turn.done():
                turn.set_exception(Moved())

    async def drained(self) -> None:
        """Wait until nothing runs here."""
        await self._idle.wait()

    async def gone(self) -> str:
        """Wait for the process to end; gives its last error or how it ended."""
        code = await self._process.wait()
        self.retire()
        return self._reason(f"signal {-code}" if code < 0 else f"exit code {code}")

    async def close(self) -> None:
        """End the process and remove its folder."""
        self.retire()
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), 3)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
        await asyncio.wait({self._reader}, timeout=1)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _fits(self, units: int) -> bool:
        return self.running < self.settings.slots and units <= self._free

    def _start(self, units: int) -> None:
        self._free -= units
        self.running += 1
        self._idle.clear()

    def _next(self) -> None:
        while self._waiting and self._fits(self._waiting[0][0]):
            units, turn = self._waiting.popleft()
            if not turn.done():
                self._start(units)
                turn.set_result(None)

    def _reason(self, otherwise: str) -> str:
        for line in self._errors:
            for telling in _TELLING:
                if telling in line:
                    return line.rpartition(telling)[2]
        return self._errors[0] if self._errors else otherwise

    async def _read_errors(self) -> None:
        stream = self._process.stderr
        assert stream is not None
        begun = b""
        while chunk := await stream.read(65536):
            *lines, begun = (begun + chunk).split(b"\n")  # llama.cpp writes a line in pieces
            begun = begun[:65536]
            for line in lines:
                self._keep(line)
        self._keep(begun)

    def _keep(self, line: bytes) -> None:
        said = _CLOCK.sub("", line.decode("utf-8", "replace").strip())
        if said:
            self._errors.append(said[:300])
            if any(telling in said for telling in _TELLING):
                self._told.set()


async def launch(model: Path, settings: Settings, *, ahead: Ahead | None = None) -> Worker:
    """Start a worker and wait until it serves `model`: by the first of the eligible engines that can compute it.

    A process that was started `ahead` is taken where it fits.
    """
    notes: list[str] = []
    adapter, bytes, wish = settings.adapter is not None, model.stat().st_size, wished(settings.engine)
    marked = bool(settings.watermark)
    for engine in eligible(wish, bytes=bytes, adapter=adapter, notes=notes, marked=marked):
        try:
            worker = await _launch(model, settings, engine, ahead)
        except Unfit as reason:
            if wish or marked:
                why = f"; {LLAMACPP.name} cannot draw the mark that labels.watermark asks for" if marked else ""
                raise InputError(f"{model.name} cannot be computed by {engine.name}: {reason}{why}") from None
            notes.append(f"{engine.name}: {reason}")
            continue
        worker.note = "; ".join(notes)
        return worker
    raise AssertionError("llama.cpp is never unfit")


async def _launch(model: Path, settings: Settings, engine: Engine, ahead: Ahead | None) -> Worker:
    folder = Path(tempfile.mkdtemp(prefix="spearhead-"))  # 0700: only this user reaches the socket
    if len(str(folder)) > 90:  # a socket's path has about a hundred bytes
        folder.rmdir()
        folder = Path(tempfile.mkdtemp(prefix="spearhead-", dir="/tmp"))
    try:
        process = (ahead.take(engine) if ahead is not None else None) or await begun(engine)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    worker = Worker(process, folder, settings, engine=engine)
    try:
        await worker.ready(model)
    except BaseException:
        await worker.close()
        raise
    return worker


def _cores() -> int:
    """Threads where none were asked for: one a core, or fewer by `OMP_NUM_THREADS`, as for training."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    told = os.environ.get("OMP_NUM_THREADS", "")
    return min(cores, int(told)) if told.isdecimal() and int(told) else cores
