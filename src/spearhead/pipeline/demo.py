"""The whole walk as a newcomer sees it: the road, then the served release asked once, with label, trace and receipt.

Starts the real server as a process of its own on a free loopback port and ends it again.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

from spearhead.core.errors import SpearheadError
from spearhead.pipeline import desk, road, trust
from spearhead.pipeline.outcome import Outcome
from spearhead.pipeline.show import drive
from spearhead.scenario.read import Loaded
from spearhead.store.home import Home

QUESTION = "And he said unto them, Whither goest thou? Verily I know not whence thou comest."
READY_WITHIN = 60.0


def run(loaded: Loaded, *, home: Home, quiet: bool, as_json: bool) -> int:
    """Walk, serve, ask, show; gives the road's exit code when a bar was missed."""
    start = time.monotonic()
    outcome = drive(road.walk(loaded, home=home, until="report"), quiet=quiet)
    if not as_json:
        print("\n".join(outcome.lines()))
    if outcome.exit_code:
        return outcome.exit_code
    secret = desk.demo_key(home, loaded.scenario.price.currency)
    question = _question(outcome)
    with _server(home, loaded.scenario.name) as address:
        if loaded.scenario.scenario.modality == "image":
            answer, ending = _ask_picture(address, secret, loaded.scenario.name, question), "png"
        else:
            answer, ending = _ask(address, secret, loaded.scenario.name, question), "txt"
    file = home.root / f"demo-answer.{ending}"
    file.write_bytes(answer.pop("file"))
    traced = trust.trace(home, file)
    if as_json:
        print(json.dumps({**outcome.as_dict(), "answer": answer, "trace": traced.as_dict()}, indent=2, default=str))
        return traced.exit_code
    print(f"\nasked over the API:  {question}\nanswered:            {answer['text'] or file}")
    print("\nlabel (headers):")
    print("\n".join(f"  {name}: {value}" for name, value in answer["labels"].items()))
    print(f"\ntrace of {file}:")
    print("\n".join(f"  {line}" for line in traced.lines()))
    print("\nreceipt:")
    print("\n".join(f"  {name}: {value}" for name, value in answer["receipt"].items()))
    print(f"\ndone in {time.monotonic() - start:.0f} s; report: {outcome.report}")
    print(f"next: spearhead serve {loaded.scenario.name}   (keys: spearhead keys create)")
    return traced.exit_code


@contextlib.contextmanager
def _server(home: Home, name: str) -> Iterator[str]:
    """A real server on a free port; its log is kept when it does not come up."""
    import httpx

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = home.root / "demo-server.log"
    command = [sys.executable, "-m", "spearhead.cli", "serve", name, "--home", str(home.root), "--port", str(port)]
    with log.open("wb") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=stream, env=dict(os.environ))
    address = f"http://127.0.0.1:{port}"
    try:
        end = time.monotonic() + READY_WITHIN
        while True:
            if process.poll() is not None or time.monotonic() > end:
                raise SpearheadError(f"the server did not come up; its log: {log}")
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{address}/ready", timeout=2).status_code == 200:
                    break
            time.sleep(0.05)
        yield address
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _question(outcome: Outcome) -> str:
    """The verse of the first demo, else what the first held-out case asked."""
    cases = outcome.judged.cases if outcome.judged else ()
    given = cases[0].input if cases else None
    return QUESTION if outcome.name == "modern-english" or given is None else given.text


def _ask_picture(address: str, secret: str, model: str, question: str) -> dict[str, Any]:
    """One picture as its labelled file, and its receipt."""
    import httpx

    body = {"model": model, "prompt": question, "response_format": "url"}
    with httpx.Client(base_url=address, headers={"Authorization": f"Bearer {secret}"}, timeout=60) as client:
        answer = client.post("/v1/images/generations", json=body)
        if answer.status_code != 200:
            raise SpearheadError(f"the API answered {answer.status_code}: {answer.text[:300]}")
        if (where := answer.json()["data"][0].get("url")) is None:
            raise SpearheadError("the picture was withheld or waits for a person; ask again")
        file = client.get(where).raise_for_status()
        receipt = client.get(f"/v1/receipts/{answer.headers['x-request-id']}").raise_for_status()
    return {"text": "", "labels": _labels(dict(answer.headers)), "file": file.content, "receipt": receipt.json()}


def _labels(headers: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.startswith(("x-spearhead", "x-ai-"))}


def _ask(address: str, secret: str, model: str, question: str) -> dict[str, Any]:
    """One streamed answer, its labelled file and its receipt."""
    import httpx

    body = {"model": model, "stream": True, "messages": [{"role": "user", "content": question}]}
    with httpx.Client(base_url=address, headers={"Authorization": f"Bearer {secret}"}, timeout=60) as client:
        words = []
        with client.stream("POST", "/v1/chat/completions", json=body) as stream:
            if stream.status_code != 200:
                raise SpearheadError(f"the API answered {stream.status_code}: {stream.read().decode()[:300]}")
            headers = dict(stream.headers)
            for line in stream.iter_lines():
                if line.startswith("data: ") and line != "data: [DONE]":
                    event = json.loads(line[6:])
                    if "error" in event:
                        raise SpearheadError(f"the answer broke off: {event['error']['message']}")
                    words += [choice["delta"].get("content") or "" for choice in event["choices"]]
        request, output = headers["x-request-id"], headers["x-spearhead-output"]
        file = client.get(f"/v1/outputs/{output}/file").raise_for_status()
        receipt = client.get(f"/v1/receipts/{request}").raise_for_status()
    return {"text": "".join(words), "labels": _labels(headers), "file": file.content, "receipt": receipt.json()}
