"""Runs `deploy/` for real and prints what was seen: a server in the image, or under a Debian's own systemd.

The commands at the head of the Dockerfile and of the units are run as they stand there; only the names of image, volume
and port are others, for theirs may be taken. It wants `make setup`, root, x86_64, and podman or docker (`image`), or
systemd-nspawn and a free port 8000 (`units`); where no image to build on is named, debootstrap too. What follows `--`
goes to the build, or to systemd-nspawn: mirrors, certificates. What it makes is removed in the end. Exit code 1 when
something is not as promised.

    python deploy/trial.py image
    python deploy/trial.py image --base python:3.11-slim -- --secret id=pip,src=pip.conf
    python deploy/trial.py units -- --bind-ro=/etc/pip.conf
"""

import argparse
import contextlib
import json
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import httpx
import psutil
from tests.conftest import write_tiny_release

ROOT = Path(__file__).resolve().parents[1]
SUITE = "bookworm"
"""The Debian whose own Python is the one that the Dockerfile names."""
NAME = "spearhead-trial"
TRAINING = ("torch", "transformers", "peft", "datasets", "accelerate")
DATA = "/home/spearhead/data"
OPENVINO = "SPEARHEAD_TEXT_ENGINE=OpenVINO"
AWAY = "SPEARHEAD_DATABASE_URL=postgresql://nobody@127.0.0.1:1/nowhere"
ASKED: dict[str, Any] = {"model": "tiny", "messages": [{"role": "user", "content": "hello"}]}
LONG: dict[str, Any] = {**ASKED, "messages": [{"role": "user", "content": "~"}], "max_tokens": 100, "stream": True}


class Broken(Exception):
    """Something is not as promised."""


def main() -> int:
    """Walk the image or the units; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("image", "units"))
    parser.add_argument("--engine", default="podman" if shutil.which("podman") else "docker", help="podman or docker")
    parser.add_argument("--base", default="", help="the image to build on (default: one made by debootstrap)")
    own, more = sys.argv[1:], []
    if "--" in own:
        own, more = own[: own.index("--")], own[own.index("--") + 1 :]
    given = parser.parse_args(own)
    with tempfile.TemporaryDirectory(prefix=f"{NAME}-") as folder:
        home = Path(folder, ".spearhead")
        write_tiny_release(home / "releases")
        try:
            if given.what == "image":
                image(home, engine=given.engine, base=given.base, more=more)
            else:
                units(home, more=more)
        except Broken as error:
            print(f"✗ {error}", file=sys.stderr)
            return 1
    return 0


def seen(what: str, value: object, *, wanted: object = None) -> None:
    """Print what was seen; raises Broken when it is not what was wanted."""
    if wanted is not None and value != wanted:
        raise Broken(f"{what}: {value!r}, wanted {wanted!r}")
    print(f"✓ {what:<44} {value}", flush=True)


def run(*words: str | Path) -> str:
    """A command's standard output; raises Broken with what it said when it fails."""
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, cwd=ROOT, check=False)
    if done.returncode:
        raise Broken(
            f"{shlex.join(map(str, words))}: exit code {done.returncode}\n{(done.stdout + done.stderr)[-4000:]}"
        )
    return done.stdout


def commands(file: str) -> list[str]:
    """The commands at the head of a file of `deploy/`: lines of its first comment that are set in."""
    head = re.match(r"(?:#.*\n)+", (ROOT / "deploy" / file).read_text())
    return re.findall(r"^# {3}(\S.*)$", head[0], re.M) if head else []


def debian(folder: Path, *packages: str) -> None:
    """A Debian with its own Python, by the name `python` too, as in the image that the Dockerfile names."""
    named = ",".join(("python3", "python3-venv", "ca-certificates", *packages))
    run("debootstrap", "--variant=minbase", f"--include={named}", SUITE, folder)
    (folder / "usr/local/bin/python").symlink_to("/usr/bin/python3")


def secret_of(said: str) -> str:
    """The key in what `spearhead keys create` prints."""
    found = re.search(r"sk-spear-\S+", said)
    if found is None:
        raise Broken(f"no key in {said!r}")
    return found[0]


# -- what a server promises, wherever it runs ------------------------------------------------------------------------
def seconds_to_ready(url: str, start: Callable[[], object]) -> float:
    """From the start until the server can answer; raises Broken after a minute and a half."""
    began = time.monotonic()
    start()
    while time.monotonic() - began < 90:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"{url}/ready", timeout=5).status_code == 200:
                return round(time.monotonic() - began, 1)
        time.sleep(0.05)
    raise Broken(f"{url}/ready is not 200 within 90 s")


def answered(client: httpx.Client) -> str:
    """One answer with its receipt and its labelled file; the number of the output."""
    seen("/health", client.get("/health").status_code, wanted=200)
    answer = client.post("/v1/chat/completions", json=ASKED)
    seen(
        "an answer",
        answer.json().get("choices", [{}])[0].get("message", {}).get("content"),
        wanted=" The quick brown fox.",
    )
    receipt = client.get(f"/v1/receipts/{answer.headers['x-request-id']}")
    seen("its receipt", receipt.status_code, wanted=200)
    return str(answer.headers["x-spearhead-output"])


def labelled(client: httpx.Client, output: str) -> None:
    """The file of an answer is there, and its label holds."""
    for _ in range(100):  # it is sealed right after the answer has left
        if (file := client.get(f"/v1/outputs/{output}/file")).status_code == 200:
            break
        time.sleep(0.1)
    seen("its file is labelled", client.post("/v1/verify", content=file.content).json()["holds"], wanted=True)


def computes(log: str) -> str:
    """The engine that a server's log named last."""
    found: list[str] = re.findall(r"is computed by (\S+)", log)
    return found[-1] if found else "nothing"


def stopped(client: httpx.Client, stop: Callable[[], object]) -> None:
    """Told to stop amid an answer, the server brings it to its end first."""
    with ThreadPoolExecutor(1) as pool, client.stream("POST", "/v1/chat/completions", json=LONG) as answer:
        lines = answer.iter_lines()
        next(lines)
        began, stopping = time.monotonic(), pool.submit(stop)
        last = [line for line in lines if line][-1]
        stopping.result()
    seen("an answer that ran at SIGTERM ends with", last, wanted="data: [DONE]")
    seen("stopped after seconds", round(time.monotonic() - began, 1))


# -- the image -------------------------------------------------------------------------------------------------------
def image(home: Path, *, engine: str, base: str, more: list[str]) -> None:
    """Build the image and walk a server in it, by the lines at the head of the Dockerfile."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def ours(line: str) -> str:
        line = re.sub(r"(?<![\w/.-])spearhead(?=[ -]|$)", NAME, re.sub(r"\bdocker\b", engine, line))
        return line.replace(".spearhead", str(home)).replace("127.0.0.1:8000:", f"127.0.0.1:{port}:")

    build, bring, first_key, serve, stop, bill = map(ours, commands("Dockerfile"))
    made = ""
    try:
        if not base:
            made = base = f"{NAME}-base"
            with tempfile.TemporaryDirectory(prefix=f"{NAME}-") as folder:
                debian(Path(folder, SUITE))
                run("sh", "-ec", f"tar -C {folder}/{SUITE} -c . | {engine} import - {base}")
        options = ["--build-arg", f"BASE={base}", *(["--format", "docker"] if engine == "podman" else []), *more]
        began = time.monotonic()
        run("sh", "-ec", build.replace(" build ", f" build {shlex.join(options)} "))
        seen("built in seconds", round(time.monotonic() - began))
        size = {name: int(run(engine, "image", "inspect", name, "--format", "{{.Size}}")) for name in (base, NAME)}
        seen("megabytes, and those of its base", f"{size[NAME] // 10**6}, {size[base] // 10**6}")
        within(engine)
        run("sh", "-ec", bring)
        key = secret_of(run("sh", "-ec", first_key))
        run(engine, "run", "--rm", "-v", f"{NAME}-home:{DATA}", NAME, "keys", "credit", "--amount", "5.00")
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            client.headers["authorization"] = f"Bearer {key}"
            url = str(client.base_url)
            seen("ready after seconds", seconds_to_ready(url, lambda: run("sh", "-ec", serve)))
            output = answered(client)
            labelled(client, output)
            seen("its health check", health(engine), wanted="healthy")
            stopped(client, lambda: run("sh", "-ec", stop))
            seen("exit code", run(engine, "inspect", NAME, "--format", "{{.State.ExitCode}}").strip(), wanted="0")
            run(engine, "rm", NAME)
            again = serve.replace(" run ", f" run -e {OPENVINO} ")
            seen("ready again after seconds", seconds_to_ready(url, lambda: run("sh", "-ec", again)))
            logged = subprocess.run([engine, "logs", NAME], capture_output=True, text=True, check=True)
            seen("now computes", computes(logged.stdout + logged.stderr), wanted="OpenVINO")
            labelled(client, output)
            answered(client)
            seen("invoices", run("sh", "-ec", bill).strip(), wanted="nothing is due")
    finally:
        for words in (["rm", "-f", NAME], ["volume", "rm", f"{NAME}-home"], ["rmi", NAME, *filter(None, [made])]):
            subprocess.run([engine, *words], capture_output=True, check=False)


def within(engine: str) -> None:
    """What is in the image, and what is not."""
    look = (
        "import importlib.util as u, json, os, pathlib, shutil;"
        f"print(json.dumps([os.getuid(), [name for name in {TRAINING} if u.find_spec(name)],"
        "[name for name in ('gcc', 'cc', 'git') if shutil.which(name)], pathlib.Path('/etc/pip.conf').exists()]))"
    )
    user, training, tools, settings = json.loads(run(engine, "run", "--rm", "--entrypoint", "python", NAME, "-c", look))
    seen("its user", user, wanted=10001)
    seen("what trains is in it", training, wanted=[])
    seen("compilers are in it", tools, wanted=[])
    seen("the builder's pip.conf is in it", settings, wanted=False)


def health(engine: str) -> str:
    """What the image's own check says; docker makes it by itself, every quarter of a minute, podman is asked to."""
    if engine == "docker":
        time.sleep(20)
    else:
        run(engine, "healthcheck", "run", NAME)
    return run(engine, "inspect", NAME, "--format", "{{.State.Health.Status}}").strip()


# -- the units -------------------------------------------------------------------------------------------------------
def units(home: Path, *, more: list[str]) -> None:
    """Boot a Debian, install the units by the lines at their heads, and walk the server that they start."""
    folder = home.parent / SUITE
    debian(folder, "systemd-sysv", "dbus")
    source = folder / "srv/spearhead"
    for name in ("src", "deploy"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(home, source / ".spearhead")
    boot = ["systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--resolv-conf=copy-host", "--boot"]
    with subprocess.Popen(
        [*boot, f"--directory={folder}", *more], stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL
    ) as up:
        try:
            walk_units(Inside(up))
        finally:
            up.terminate()  # systemd-nspawn lets it shut down


class Inside:
    """A booted system: what it is called with runs in it, as root."""

    def __init__(self, booted: "subprocess.Popen[bytes]") -> None:
        self._booted = booted
        for _ in range(300):
            with contextlib.suppress(Broken, IndexError):
                if self("systemctl is-system-running --wait").strip() == "running":
                    return
            time.sleep(0.1)
        raise Broken("the system did not come up")

    def __call__(self, line: str) -> str:
        leader = psutil.Process(self._booted.pid).children()[0].pid
        path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        enter = ["nsenter", f"--target={leader}", "--mount", "--uts", "--ipc", "--pid", "env", "-i", path]
        return run(*enter, "sh", "-ec", f"cd /srv/spearhead; {line}")


def walk_units(inside: Callable[[str], str]) -> None:
    """Install, serve, stop, kill, write invoices."""
    url = "http://127.0.0.1:8000"
    *lines, first_key = commands("spearhead.service")
    for line in lines[:-1]:
        inside(line)
    seen("enabled, and ready after seconds", seconds_to_ready(url, lambda: inside(lines[-1])))
    key = secret_of(inside(first_key))
    inside(first_key.replace("keys create", "keys credit --amount 5.00"))
    names = "spearhead.service", "spearhead-bill.service", "spearhead-bill.timer"
    for line in commands("spearhead-bill.timer"):
        inside(line)
    inside(f"systemd-analyze verify {' '.join(names)}")
    for name in names[:2]:
        seen(f"exposure of {name}", inside(f"systemd-analyze security {name}").split("\n→ ")[-1].strip())
    status = inside("cat /proc/$(systemctl show -P MainPID spearhead)/status")
    found = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    seen("capabilities", found["CapEff"].strip("0") or "none", wanted="none")
    seen("no new privileges, filtered calls", (found["NoNewPrivs"], found["Seccomp"]), wanted=("1", "2"))
    with httpx.Client(base_url=url, headers={"authorization": f"Bearer {key}"}, timeout=60) as client:
        output = answered(client)
        labelled(client, output)
        stopped(client, lambda: inside("systemctl stop spearhead"))
        seen("result", inside("systemctl show -P Result spearhead").strip(), wanted="success")
        inside(f"echo {OPENVINO} > /etc/spearhead.env")
        seen("ready again after seconds", seconds_to_ready(url, lambda: inside("systemctl start spearhead")))
        seen("now computes", computes(inside("journalctl -u spearhead")), wanted="OpenVINO")
        labelled(client, output)
        kill = "kill -KILL $(systemctl show -P MainPID spearhead); sleep 1"
        seen("killed, and ready again after seconds", seconds_to_ready(url, lambda: inside(kill)))
        answered(client)
    inside(f"echo {AWAY} > /etc/spearhead.env; systemctl restart spearhead; sleep 40; rm /etc/spearhead.env")
    seen("tries while its database was away", inside("systemctl show -P NRestarts spearhead").strip())
    seen("ready after seconds", seconds_to_ready(url, lambda: None))
    inside("systemctl start spearhead-bill.service")
    seen("invoices", inside("journalctl -u spearhead-bill -o cat").splitlines()[-3], wanted="nothing is due")
    seen("the timer", inside("systemctl is-active spearhead-bill.timer").strip(), wanted="active")


if __name__ == "__main__":
    sys.exit(main())
