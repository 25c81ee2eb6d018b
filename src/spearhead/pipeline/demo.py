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
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from spearhead.core.errors import SpearheadError
from spearhead.pipeline import desk, road, trust
from spearhead.pipeline.outcome import Outcome
from spearhead.pipeline.show import drive
from spearhead.scenario.read import Loaded
from spearhead.store.home import Home

if TYPE_CHECKING:
    import httpx

QUESTION = "And he said unto them, Whither goest thou? Verily I know not whence thou comest."
LOG = "demo-server.log"
READY_WITHIN = 60.0


@dataclass(frozen=True, slots=True)
class Asked:
    """What the served release answered; one that review held has no file yet, and names its review."""

    text: str
    labels: dict[str, str]
    receipt: dict[str, Any]
    file: bytes | None
    review: str = ""


def run(loaded: Loaded, *, home: Home, quiet: bool, as_json: bool) -> int:
    """Walk, serve, ask, show; gives the road's exit code when a bar was missed.

    An answer that waits for a person is what the scenario's policy asks for, so it is shown and is no failure.
    """
    start = time.monotonic()
    outcome = drive(road.walk(loaded, home=home, until="report"), quiet=quiet)
    if not as_json:
        print("\n".join(outcome.lines()))
    if outcome.exit_code:
        return outcome.exit_code
    question = _question(outcome)
    answer = _answer(loaded, home, outcome, question)
    file = home.root / f"demo-answer.{'png' if loaded.scenario.scenario.modality == 'image' else 'txt'}"
    traced = None
    if answer.file is not None:
        file.write_bytes(answer.file)
        traced = trust.trace(home, file)
    exit_code = traced.exit_code if traced else 0
    if as_json:
        told = {"text": answer.text, "labels": answer.labels, "receipt": answer.receipt, "review": answer.review}
        found = {**outcome.as_dict(), "answer": told, "trace": traced.as_dict() if traced else None}
        print(json.dumps(found, indent=2, default=str))
        return exit_code
    print(f"\nasked over the API:  {question}")
    print(f"answered:            {_held(answer) if answer.file is None else answer.text or file}")
    print("\nlabel (headers):")
    print("\n".join(f"  {name}: {value}" for name, value in answer.labels.items()))
    if traced:
        print(f"\ntrace of {file}:")
        print("\n".join(f"  {line}" for line in traced.lines()))
    print("\nreceipt:")
    print("\n".join(f"  {name}: {value}" for name, value in answer.receipt.items()))
    print(f"\ndone in {time.monotonic() - start:.0f} s; report: {outcome.report}")
    print(f"{outcome.after_release()}   (keys: spearhead keys create)")
    return exit_code


def _held(answer: Asked) -> str:
    return (
        f"nothing yet: review held it for a person as {answer.review}. Decide in the studio, at / of "
        "`spearhead serve`; its file, label and trace come with the approval"
    )


def _answer(loaded: Loaded, home: Home, outcome: Outcome, question: str) -> Asked:
    """What a server of its own answers to one question of a new key, by the release of this walk."""
    import httpx

    assert outcome.release is not None
    name = f"{outcome.name}@{outcome.release.name}"
    secret = desk.demo_key(home, loaded.scenario.price.currency)
    asking = _ask_picture if loaded.scenario.scenario.modality == "image" else _ask
    with _server(home, name) as address:
        try:
            with httpx.Client(base_url=address, headers={"Authorization": f"Bearer {secret}"}, timeout=60) as client:
                return asking(client, name, question)
        except httpx.HTTPError as error:
            log = home.root / LOG
            raise SpearheadError(f"the server broke off: {type(error).__name__}: {error}; its log: {log}") from error


@contextlib.contextmanager
def _server(home: Home, name: str) -> Iterator[str]:
    """A real server on a free port; its log is kept when it does not come up."""
    import httpx

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = home.root / LOG
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


def _ask_picture(client: "httpx.Client", model: str, question: str) -> Asked:
    """One picture as its labelled file, and its receipt."""
    body = {"model": model, "prompt": question, "response_format": "url"}
    answer = _good(client.post("/v1/images/generations", json=body))
    headers = dict(answer.headers)
    where, review = answer.json()["data"][0].get("url"), headers.get("x-review-id", "")
    return _asked(client, "", headers, file=where, review=review)


def _ask(client: "httpx.Client", model: str, question: str) -> Asked:
    """One streamed answer, its labelled file and its receipt."""
    body = {"model": model, "stream": True, "messages": [{"role": "user", "content": question}]}
    words, review, finish = [], "", ""
    with client.stream("POST", "/v1/chat/completions", json=body) as stream:
        if stream.status_code != 200:
            stream.read()
        _good(stream)
        headers = dict(stream.headers)
        for line in stream.iter_lines():
            if line.startswith("data: ") and line != "data: [DONE]":
                event = json.loads(line[6:])
                if "error" in event:
                    raise SpearheadError(f"the answer broke off: {event['error']['message']}")
                words += [choice["delta"].get("content") or "" for choice in event["choices"]]
                review = event.get("x_review_id") or review
                finish = next((choice["finish_reason"] for choice in event["choices"]), None) or finish
    file = None if finish == "content_filter" else f"/v1/outputs/{headers['x-spearhead-output']}/file"
    return _asked(client, "".join(words), headers, file=file, review=review)


def _asked(client: "httpx.Client", text: str, headers: dict[str, str], *, file: str | None, review: str) -> Asked:
    """The answer with its receipt and, where one may be had, its file."""
    if file is None and not review:
        raise SpearheadError("review withheld the answer, and nothing was charged: ask again, or look at [review]")
    receipt = _good(client.get(f"/v1/receipts/{headers['x-request-id']}")).json()
    labels = {name: value for name, value in headers.items() if name.startswith(("x-spearhead", "x-ai-"))}
    return Asked(text, labels, receipt, _good(client.get(file)).content if file else None, review)


def _good(answer: "httpx.Response") -> "httpx.Response":
    if answer.status_code != 200:
        raise SpearheadError(f"the API answered {answer.status_code}: {answer.text[:300]}")
    return answer
