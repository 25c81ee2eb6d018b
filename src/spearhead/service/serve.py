"""A server from an installation's folder: its socket, its engine, its API and studio, and its orderly end."""

import asyncio
import contextlib
import dataclasses
import importlib
import logging
import signal
import socket
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from spearhead.core import memory
from spearhead.core.errors import InputError
from spearhead.store.home import Home

if TYPE_CHECKING:
    import uvicorn

    from spearhead.engine.loaded import Room
    from spearhead.service.api.limits import Limits
    from spearhead.service.studio.line import Line

log = logging.getLogger(__name__)
DRAIN_SECONDS = 30


def serve(
    home: Home,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    models: tuple[str, ...] = (),
    limits: "Limits | None" = None,
    room: "Room | None" = None,
    announce: Callable[[str], None] | None = None,
) -> int:
    """Serve until told to stop (SIGINT, SIGTERM), then let running answers end; the exit code.

    Raises InputError when the port is taken or there is nothing to serve. `announce` is told the address once it is
    ready; port 0 takes a free one.
    """
    with contextlib.closing(bind(host, port)) as listener:
        _log_to_standard_error()
        if sys.platform == "win32":
            raise InputError("serving needs Linux or macOS: use WSL")
        with asyncio.Runner(loop_factory=_loop) as runner:
            runner.run(_serve(home, listener, models, limits, room, announce or _say))
    return 0


def bind(host: str, port: int) -> socket.socket:
    """A socket on exactly this address; raises InputError in one line when that cannot be."""
    if not 0 <= port <= 65_535:  # a resolver would take what is left of a larger one after division
        raise InputError(f"--port {port}: wanted 1 to 65535, or 0 for any that is free")
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except (OSError, OverflowError) as error:
        raise InputError(f"{host!r} port {port} is no address to serve on: {error}") from error
    listener = socket.socket(family[0], socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(family[4])
        listener.listen(512)
    except OSError as error:
        listener.close()
        raise InputError(
            f"{host} port {port} cannot be served on ({error.strerror}): stop what uses it, or name another with --port"
        ) from error
    return listener


async def _serve(
    home: Home,
    listener: socket.socket,
    models: tuple[str, ...],
    limits: "Limits | None",
    room: "Room | None",
    announce: Callable[[str], None],
) -> None:
    from spearhead.runtimes.llamacpp import Ahead

    async with contextlib.AsyncExitStack() as stack:
        ahead = await stack.enter_async_context(contextlib.aclosing(await Ahead.start(home.releases)))
        from spearhead.engine.loaded import Room  # half a second, in which what was started ahead imports as much
        from spearhead.engine.open import opened

        web = asyncio.create_task(asyncio.to_thread(_import_web))
        room = dataclasses.replace(room or Room(), ahead=ahead)
        engine = await stack.enter_async_context(opened(home, models=models, room=room))
        await ahead.aclose()  # no model took it
        await web  # another half, which has passed while models were loaded
        import uvicorn

        from spearhead.ledger import keys as ledger_keys
        from spearhead.service.api.app import front
        from spearhead.service.api.limits import Limits
        from spearhead.service.app import create_app

        app = create_app(engine, home=home, limits=limits or Limits())
        config = uvicorn.Config(
            front(app),
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,  # paths and statuses are in the metrics; no log line holds words or keys
            server_header=False,
            timeout_graceful_shutdown=DRAIN_SECONDS,
            timeout_keep_alive=75,
        )
        server = uvicorn.Server(config)
        # uvicorn would raise the signal again once it has drained, before the engine's own end is reached.
        server.capture_signals = contextlib.nullcontext  # type: ignore[assignment, method-assign]
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, _stop, server, app.state.line)
        work = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started and not work.done():
            await asyncio.sleep(0.01)
        if server.started:
            memory.trim()  # reading tokenizers and importing took more than it keeps
            host, port = listener.getsockname()[:2]
            names = ", ".join(sorted(engine.releases))
            if not await engine.desk.read(ledger_keys.of_account):
                log.warning("no key may ask yet: `spearhead keys create` makes the first, while this runs too")
            announce(f"serving {names} on http://{f'[{host}]' if ':' in host else host}:{port}/v1")
        await work
        await app.state.line.aclose()


def _import_web() -> None:
    for name in ("spearhead.service.app", "uvicorn"):
        importlib.import_module(name)


def _stop(server: "uvicorn.Server", line: "Line") -> None:
    """The first signal lets running answers end, the second does not wait for them."""
    line.leave()
    server.force_exit, server.should_exit = server.should_exit, True


def _loop() -> asyncio.AbstractEventLoop:
    import uvloop

    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


def _say(line: str) -> None:
    print(line, flush=True)


def _log_to_standard_error() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    for name in ("spearhead", "uvicorn.error"):
        logger = logging.getLogger(name)
        if not logger.handlers:
            logger.addHandler(handler)
        logger.setLevel(logging.INFO if name == "spearhead" else logging.WARNING)
