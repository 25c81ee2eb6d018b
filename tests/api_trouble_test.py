"""Promises about trouble: a runtime that dies, a database that is away, a port that is taken, an end in good order."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import openai
import psutil
import pytest
from tests import conftest
from tests.conftest import Served, start_server, until

from spearhead.ledger import journal, usage

PROMPT, COMPLETION = 200, 800


def asking(content: str, **more: Any) -> dict[str, Any]:
    """A chat body."""
    return {"model": "tiny", "messages": [{"role": "user", "content": content}], **more}


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server for troubles that pass by themselves: each test leaves it as well as it was."""
    server = start_server(tmp_path_factory.mktemp("tried"))
    yield server
    server.close()


def test_a_runtime_that_is_killed_ends_its_streams_with_an_error_and_comes_back(tried: Served) -> None:
    served = tried
    account = served.account()
    client = served.openai(account)
    (worker,) = served.workers()
    with served.slowly(), pytest.raises(openai.APIError) as caught:
        for number, _ in enumerate(client.chat.completions.create(**asking("~", max_tokens=4000), stream=True)):
            if number == 5:
                os.kill(worker, signal.SIGKILL)
    assert caught.value.code == "runtime_failed"
    balance = served.balance(account)
    paid = 10**9 - balance.available
    assert balance.reserved == 0 and 0 < paid < PROMPT + 4000 * COMPLETION, "what was made is settled"
    answer = client.with_options(max_retries=5).chat.completions.create(**asking("hello"))
    assert answer.choices[0].message.content == " The quick brown fox."
    until(lambda: httpx.get(f"{served.url}/ready", timeout=60).status_code == 200)
    (successor,) = served.workers()
    assert successor != worker


def test_a_stream_opens_before_its_model_has_said_anything(tried: Served) -> None:
    (worker,) = tried.workers()
    os.kill(worker, signal.SIGSTOP)
    try:
        http, body = tried.http(tried.account()), asking("hello", stream=True)
        with http.stream("POST", "/v1/chat/completions", json=body) as response:
            lines = filter(None, response.iter_lines())
            first = json.loads(next(lines).removeprefix("data: "))["choices"][0]["delta"]
            assert first == {"role": "assistant", "content": "", "refusal": None}
            os.kill(worker, signal.SIGCONT)
            *said, end = lines
    finally:
        os.kill(worker, signal.SIGCONT)
    deltas = [json.loads(line.removeprefix("data: "))["choices"][0]["delta"] for line in said]
    assert "".join(delta.get("content", "") for delta in deltas) == " The quick brown fox." and end == "data: [DONE]"


def test_a_response_whose_runtime_is_killed_ends_as_failed(tried: Served) -> None:
    until(lambda: httpx.get(f"{tried.url}/ready", timeout=60).status_code == 200)
    account, deltas = tried.account(), 0
    (worker,) = tried.workers()
    client: Any = tried.openai(account)
    with tried.slowly():
        for event in client.responses.create(model="tiny", input="~", max_output_tokens=4000, stream=True):
            deltas += event.type == "response.output_text.delta"
            if deltas == 5:
                os.kill(worker, signal.SIGKILL)
                deltas += 1
    assert event.type == "response.failed" and event.response.status == "failed"
    assert event.response.error.code == "server_error" and event.x_code == "runtime_failed"
    assert 0 < tried.paid(account) < PROMPT + 4000 * COMPLETION, "what was made is settled"
    until(lambda: httpx.get(f"{tried.url}/ready", timeout=60).status_code == 200)


def test_database_trouble_is_a_503_never_a_401_and_passes_by_itself(tried: Served) -> None:
    served = tried
    client = served.http(served.account())
    assert client.get("/v1/models").status_code == 200
    with served.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE accounts RENAME TO accounts_away")
    time.sleep(1.2)  # a key is remembered for a second
    fresh = httpx.get(f"{served.url}/v1/models", headers={"authorization": "Bearer sk-spear-" + "a" * 43}, timeout=60)
    known = client.post("/v1/chat/completions", json=asking("hello"))
    for answer in (fresh, known):
        assert answer.status_code == 503 and int(answer.headers["retry-after"]) >= 1, answer.text
        assert answer.json()["error"]["code"] == "store_unavailable"
    assert httpx.get(f"{served.url}/ready", timeout=60).status_code == 503
    assert httpx.get(f"{served.url}/health", timeout=60).status_code == 200
    with served.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE accounts_away RENAME TO accounts")
    assert client.post("/v1/chat/completions", json=asking("hello")).status_code == 200
    assert httpx.get(f"{served.url}/ready", timeout=60).status_code == 200


def test_a_port_that_is_taken_is_said_in_one_line(served: Any, serve_tiny: Any) -> None:
    with pytest.raises(AssertionError) as caught:
        serve_tiny(port=int(served.url.rpartition(":")[2]))
    said = str(caught.value).partition(": ")[2]
    assert "cannot be served on" in said and "--port" in said and said.count("\n") <= 1 and "Traceback" not in said
    assert "exit 2" in str(caught.value)


def test_only_what_was_asked_for_is_bound(served: Any) -> None:
    port = int(served.url.rpartition(":")[2])
    found = [
        (connection.laddr.ip, connection.laddr.port)
        for pid in (served.process.pid, *served.workers())
        for connection in psutil.Process(pid).net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert found == [("127.0.0.1", port)]


def test_it_stays_within_its_memory(serve_tiny: Any) -> None:
    served = serve_tiny()  # one that nobody asked to look at pictures, which takes models of its own
    client = served.openai(served.account())
    for _ in range(16):
        assert client.chat.completions.create(**asking("hello")).usage.total_tokens
    total = sum(psutil.Process(pid).memory_info().rss for pid in (served.process.pid, *served.workers()))
    assert total < 350 << 20, f"{total >> 20} MiB with a model of 2 MB"


def test_a_server_that_is_told_to_stop_lets_answers_end(serve_tiny: Any) -> None:
    served = serve_tiny()
    workers = [psutil.Process(pid) for pid in served.workers()]
    account = served.account()
    client = served.openai(account)
    pieces: list[str] = []
    begun = threading.Event()

    def read() -> None:
        for chunk in client.chat.completions.create(**asking("~", max_tokens=600), stream=True):
            pieces.append(chunk.choices[0].delta.content or chunk.choices[0].finish_reason or "")
            begun.set()

    reader = threading.Thread(target=read)
    reader.start()
    assert begun.wait(60)
    served.process.send_signal(signal.SIGTERM)
    reader.join(60)
    assert pieces[-1] == "length" and served.process.wait(60) == 0
    assert 10**9 - served.balance(account).available == PROMPT + 600 * COMPLETION
    assert workers and psutil.wait_procs(workers, timeout=20)[1] == []


@pytest.mark.parametrize("stream", [True, False])
def test_an_answer_that_outlasts_the_end_of_the_server_is_told_so_and_charged_for_what_was_made(
    serve_tiny: Any, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    hurried = conftest.SERVE.replace(
        "\nroot, host, port", "\nserve.__globals__['DRAIN_SECONDS'] = 0.2\nroot, host, port"
    )
    assert hurried != conftest.SERVE
    monkeypatch.setattr(conftest, "SERVE", hurried)
    served = serve_tiny()
    account = served.account()
    client = served.http(account)
    assert client.post("/v1/chat/completions", json=asking("hello")).status_code == 200
    paid = 5 * PROMPT + 5 * COMPLETION
    said: list[httpx.Response] = []
    body = asking("~", max_tokens=4000, stream=stream)
    reader = threading.Thread(target=lambda: said.append(client.post("/v1/chat/completions", json=body)))
    (worker,) = map(psutil.Process, served.workers())

    def work() -> float:
        times = worker.cpu_times()
        return float(times.user + times.system)

    before = work()
    with served.slowly():
        reader.start()
        until(lambda: served.balance(account).reserved)
        until(lambda: work() > before + 0.15, what="nothing is made of it")
        served.process.send_signal(signal.SIGTERM)
        reader.join(60)
    (answer,) = said
    *_, last = [line for line in answer.text.splitlines() if line]
    assert answer.status_code == (200 if stream else 503)
    assert json.loads(last.removeprefix("data: "))["error"]["code"] == "server_ended"
    assert served.process.wait(60) == 0
    balance = served.balance(account)
    assert not balance.reserved and PROMPT < 10**9 - paid - balance.available < PROMPT + 4000 * COMPLETION
    assert "Traceback" not in (served.home.root / "server.log").read_text()


def test_no_word_and_no_key_is_in_the_log(serve_tiny: Any) -> None:
    served = serve_tiny()
    account = served.account()
    key = served.key(account)
    words = "a very private sentence"
    headers = {"authorization": f"Bearer {key.secret}"}
    httpx.post(f"{served.url}/v1/chat/completions", json=asking(words), headers=headers, timeout=60)
    httpx.post(f"{served.url}/v1/chat/completions", json=asking(words, n=99), headers=headers, timeout=60)
    served.close()
    log = (served.home.root / "server.log").read_text()
    assert words not in log and key.secret not in log


def test_nothing_to_serve_is_said_in_one_line(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom spearhead.core.errors import SpearheadError\n"
        "from spearhead.service.serve import serve\nfrom spearhead.store.home import Home\n"
        "try:\n    serve(Home(Path(sys.argv[1]), Path(sys.argv[1])), port=0)\n"
        "except SpearheadError as error:\n    print(error, file=sys.stderr)\n    sys.exit(error.exit_code)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=180)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "there is no release" in done.stderr


def test_a_full_disk_and_a_lost_database_are_503s_that_charge_nothing_and_pass_by_themselves(tried: Served) -> None:
    served = tried
    account = served.account()
    client = served.http(account)
    assert client.post("/v1/chat/completions", json=asking("hello")).status_code == 200
    for trouble in (full_disk, lost_database):
        with trouble(served):
            for stream in (False, True):
                answer = client.post("/v1/chat/completions", json=asking("hello", stream=stream))
                assert answer.status_code == 503 and answer.json()["error"]["code"] == "store_unavailable", answer.text
                assert int(answer.headers["retry-after"]) >= 1
            assert httpx.get(f"{served.url}/ready", timeout=60).json()["parts"]["database"] is False
        assert client.post("/v1/chat/completions", json=asking("hello")).status_code == 200
        assert httpx.get(f"{served.url}/ready", timeout=60).status_code == 200
    until(lambda: not served.balance(account).reserved)
    assert 10**9 - served.balance(account).available == 3 * 5 * (PROMPT + COMPLETION)
    assert journal.check(served.engine) + usage.check(served.engine) == []


@contextmanager
def full_disk(served: Any) -> Iterator[None]:
    """No file of the server may grow past a kilobyte: writing fails as on a full disk."""
    server = psutil.Process(served.process.pid)
    soft, hard = server.rlimit(psutil.RLIMIT_FSIZE)
    server.rlimit(psutil.RLIMIT_FSIZE, (1024, hard))
    yield
    server.rlimit(psutil.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def lost_database(served: Any) -> Iterator[None]:
    """Its files are taken away, and come back; meanwhile no key is wrong and no empty database takes their place."""
    served.engine.dispose()
    aside = served.home.root / "aside"
    aside.mkdir()
    files = [path.rename(aside / path.name) for path in sorted(served.home.root.glob("spearhead.db*"))]
    stranger = {"authorization": "Bearer sk-spear-" + "a" * 43}
    assert httpx.get(f"{served.url}/v1/models", headers=stranger, timeout=60).status_code == 503, "never a 401"
    yield
    assert not list(served.home.root.glob("spearhead.db*"))
    for path in files:
        path.rename(served.home.root / path.name)
