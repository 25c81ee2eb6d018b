"""How fast a release is served to many streaming clients, against three peers on the same file, in one run.

    python benchmarks/serve_text.py --release .spearhead/releases/modern-english/1

Ours is `spearhead serve` with keys, ledger, review and labels on. The peers: llama.cpp's own HTTP server, bare, from
the same library with the same settings; OpenVINO GenAI, which batches the same prompts; and `transformers.generate`
called for one prompt after the other. Everyone gets the same held-out texts of the release's scenario, as token ids
where the peer takes them, and answers each greedily to its own end. Rounds take other texts and alternate between the
peers; the figures are medians of rounds.
The labelled files of our answers are made once nobody is answered: a round waits for them before a peer has its turn,
and a second ratio counts that time as well. Ours is computed by what serves this release on this machine
(docs/decisions/0012-engines.md); `SPEARHEAD_TEXT_ENGINE` names another. Exit code 3 when a ratio misses its target.
"""

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from spearhead.core.template import Example, Template
from spearhead.media.text.tokens import Tokenizer
from spearhead.runtimes.llamacpp import Settings, engines
from spearhead.store import releases
from spearhead.store.home import Home

TARGETS = {"bare": 0.95, "openvino": 1.0, "transformers": 12.0}
NAMES = {"bare": "llama.cpp server, bare", "openvino": "OpenVINO GenAI", "transformers": "transformers.generate"}
FILES = "and its files' labels"
SHARE = 4
"""transformers answers one of so many prompts: it is that slow, and one after the other more of them are no faster."""


def main() -> int:
    """Measure, print, judge."""
    options = _options()
    if options.peer:
        return _PEERS[options.peer](options)
    release = releases.read(options.release)
    model, tokenizer = release.file("model"), Tokenizer.open(release.file("tokenizer"))
    raw = release.manifest.template
    template = Template(**{**raw, "examples": tuple(Example(**example) for example in raw.get("examples", ()))})
    end = tokenizer.id(template.stop)
    texts = _texts(release, options.clients * options.each * (options.rounds + 1))
    peers = [name for name in TARGETS if name in options.peers.split(",")]
    speeds: dict[str, list[float]] = {name: [] for name in ("spearhead", FILES, *peers)}
    with contextlib.ExitStack() as stack:
        ours = stack.enter_context(_spearhead(release, options.serve))
        others = {name: stack.enter_context(_peer(name, model, release.manifest.context)) for name in peers}
        for number in range(options.rounds + 1):  # the first one warms up
            count = options.clients * options.each
            words = texts[number * count : (number + 1) * count]
            prompts = [tokenizer.encode_segments(template.single(text)) for text in words]
            asked = [_chat(release.name, text, options.tokens) for text in words]
            begun = time.perf_counter()
            figures = {"spearhead": asyncio.run(_clients(ours, "/v1/chat/completions", asked, options.clients))}
            answered = time.perf_counter() - begun
            figures[FILES] = figures["spearhead"] * answered / (answered + ours.quiet())
            for name, process in others.items():
                if name == "bare":
                    bare = [_completion(ids, options.tokens) for ids in prompts]
                    figures[name] = asyncio.run(_clients(process, "/v1/completions", bare, options.clients))
                else:
                    figures[name] = process.ask({"prompts": prompts, "tokens": options.tokens, "end": end})
            if number:
                for name, figure in figures.items():
                    speeds[name].append(figure)
                print(f"round {number}: " + ", ".join(f"{k} {v:.0f}" for k, v in figures.items()), flush=True)
        long = _long(texts, tokenizer, release.manifest.context // options.clients - 64)
        filling = [_chat(release.name, text, 32) for text in long[: options.clients]]
        asyncio.run(_clients(ours, "/v1/chat/completions", filling, options.clients))
        memory = ours.memory()
        engine = f"{engines.here()}, ready {ours.ready:.1f} s after its start"
    return _report(speeds, peers, options, memory, engine)


def _report(
    speeds: Mapping[str, Sequence[float]], peers: Sequence[str], options: argparse.Namespace, memory: int, engine: str
) -> int:
    ours = statistics.median(speeds["spearhead"])
    asked = f"{options.clients} streaming clients, {options.each} held-out texts each"
    print(f"\n{asked}, answers to their own end, median of {options.rounds} rounds")
    taken = f"resident in all {memory / 2**20:.0f} MiB with its cache full"
    print(f"{'spearhead serve':26} {ours:8.1f} tokens/s   {taken} ({engine})")
    print(f"{FILES:26} {statistics.median(speeds[FILES]):8.1f} tokens/s")
    missed = False
    for name in peers:
        theirs = statistics.median(speeds[name])
        # a ratio of each round, so that a busy moment of the machine weighs on both
        ratio, whole = (
            statistics.median(a / b for a, b in zip(speeds[which], speeds[name], strict=True))
            for which in ("spearhead", FILES)
        )
        reached = ratio >= TARGETS[name]
        missed |= not reached
        verdict = "reached" if reached else "MISSED"
        wanted = f"wanted {TARGETS[name]:5.2f}   {verdict}   (files counted {whole:.2f})"
        print(f"{NAMES[name]:26} {theirs:8.1f} tokens/s   ratio {ratio:6.2f}   {wanted}")
    return 3 if missed else 0


# -- the clients: as little work as can be, for they share the machine with what they measure -----------------------
async def _clients(server: "_Served", path: str, bodies: Sequence[Mapping[str, Any]], count: int) -> float:
    """Tokens a second over all clients, by the server's own count; whoever has an answer asks for the next."""
    left = iter(bodies)

    async def ask() -> int:
        return sum([await _client(server.port, path, body, server.key) for body in left])

    begun = time.perf_counter()
    counts = await asyncio.gather(*(ask() for _ in range(count)))
    return sum(counts) / (time.perf_counter() - begun)


async def _client(port: int, path: str, body: Mapping[str, Any], key: str) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    payload = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Type: application/json\r\n"
    head += f"Authorization: Bearer {key}\r\n" if key else ""
    writer.write(f"{head}Content-Length: {len(payload)}\r\n\r\n".encode() + payload)
    count, tail = 0, b""
    try:
        while chunk := await reader.read(65536):
            tail = (tail + chunk)[-65536:]
        for line in tail.split(b"\n"):
            if line.startswith(b"data: {") and b'"usage":{' in line.replace(b'"usage": {', b'"usage":{'):
                count = int(json.loads(line[6:])["usage"]["completion_tokens"])
    finally:
        writer.close()
    if not count:
        raise SystemExit(f"no usage in the answer of port {port}: {tail[-500:].decode(errors='replace')}")
    return count


def _chat(model: str, words: str, tokens: int) -> dict[str, Any]:
    return {
        "model": model,
        "messages": [{"role": "user", "content": words}],
        "max_tokens": tokens,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def _completion(prompt: Sequence[int], tokens: int) -> dict[str, Any]:
    return {
        "prompt": list(prompt),
        "max_tokens": tokens,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


# -- ours -------------------------------------------------------------------------------------------------------------
class _Served:
    """A server process: its port, its key, its memory."""

    def __init__(self, process: "subprocess.Popen[str]", port: int, key: str = "") -> None:
        self.process, self.port, self.key = process, port, key
        self.ready = 0.0
        """Seconds from its start until it was ready."""

    def ask(self, question: Mapping[str, Any]) -> float:
        """Tokens a second that the process measured itself."""
        assert self.process.stdin is not None and self.process.stdout is not None
        print(json.dumps(question), file=self.process.stdin, flush=True)
        while line := self.process.stdout.readline():
            if line.startswith("{"):
                return float(json.loads(line)["speed"])
        raise SystemExit("a peer ended before its answer")

    def quiet(self) -> float:
        """Seconds until every answer that left has its labelled file."""
        begun = time.perf_counter()
        while True:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics") as answer:
                if b"\nspearhead_files_waiting 0.0\n" in answer.read():
                    return time.perf_counter() - begun
            time.sleep(0.02)

    def memory(self) -> int:
        """Resident bytes of the process and all that it started."""
        root = psutil.Process(self.process.pid)
        return sum(process.memory_info().rss for process in (root, *root.children(recursive=True)))


@contextlib.contextmanager
def _spearhead(release: releases.Release, command: str) -> Iterator[_Served]:
    """`spearhead serve` on a home of its own: the release, the keys that signed it, one account and its credit."""
    with tempfile.TemporaryDirectory(prefix="spearhead-bench-") as root:
        target = Path(root) / "releases" / release.manifest.scenario / release.manifest.version
        shutil.copytree(release.folder, target)
        secrets = Home(release.folder.parents[2], Path(root)).secrets
        shutil.copytree(secrets, Home(Path(root), Path(root)).secrets)  # only what its own keys signed is served
        home = ["--home", root]

        def verb(*words: str) -> str:
            done = subprocess.run([*command.split(), *words, *home], capture_output=True, text=True)
            if done.returncode:
                raise SystemExit(f"{' '.join(words)}: {done.stderr.strip() or done.stdout.strip()}")
            return done.stdout

        currency = release.manifest.price.currency
        issued = json.loads(verb("keys", "create", "--account", "bench", "--currency", currency, "--json"))
        verb("keys", "credit", "--account", "bench", "--amount", "1000000.00", "--once", "bench")
        port, begun = _free_port(), time.perf_counter()
        process = subprocess.Popen(
            [*command.split(), "serve", release.name, "--port", str(port), *home], text=True, stdin=subprocess.DEVNULL
        )
        try:
            _until_open(process, port)
            served = _Served(process, port, str(issued["secret"]))
            served.ready = time.perf_counter() - begun
            yield served
        finally:
            _end(process)


# -- peers: each a process of its own, started from this file -----------------------------------------------------
@contextlib.contextmanager
def _peer(name: str, model: Path, context: int) -> Iterator[_Served]:
    port = _free_port()
    words = [sys.executable, __file__, "--peer", name, "--model", str(model), "--port", str(port)]
    words += ["--context", str(context)]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        while (line := process.stdout.readline()).strip() != "ready":
            if not line:
                raise SystemExit(f"{NAMES[name]} did not start on {model.name}")
        yield _Served(process, port)
    finally:
        _end(process)


def _peer_bare(options: argparse.Namespace) -> int:
    import xllamacpp

    settings = Settings(context=options.context)
    params = xllamacpp.CommonParams()
    params.model.path = options.model
    params.hostnames, params.port = ["127.0.0.1"], options.port
    params.n_parallel, params.n_ctx, params.kv_unified = settings.slots, settings.context, True
    params.n_batch = params.n_ubatch = settings.batch
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = _threads()
    params.load_mode = xllamacpp.llama_load_mode.LLAMA_LOAD_MODE_NONE
    params.cache_ram_mib, params.n_ctx_checkpoints, params.fit_params = 0, 0, False
    params.ui, params.use_jinja, params.verbosity = False, False, 1
    server = xllamacpp.Server(params)
    print("ready", flush=True)
    sys.stdin.read()
    del server
    return 0


def _peer_openvino(options: argparse.Namespace) -> int:
    import openvino_genai

    scheduler = openvino_genai.SchedulerConfig()
    scheduler.max_num_seqs, scheduler.cache_size = 16, 1
    scheduler.dynamic_split_fuse = True
    pipeline = openvino_genai.LLMPipeline(
        options.model, "CPU", scheduler_config=scheduler, INFERENCE_NUM_THREADS=_threads()
    )
    print("ready", flush=True)
    for line in sys.stdin:
        question = json.loads(line)
        config = openvino_genai.GenerationConfig()
        config.max_new_tokens, config.do_sample = question["tokens"], False
        config.eos_token_id, config.stop_token_ids = question["end"], {question["end"]}
        prompts = _padded(question["prompts"])
        begun = time.perf_counter()
        done = pipeline.generate(prompts, config)
        spent = time.perf_counter() - begun
        made = int(done.perf_metrics.get_num_generated_tokens())
        print(json.dumps({"speed": made / spent}), flush=True)
    return 0


def _padded(prompts: Sequence[Sequence[int]]) -> Any:
    """As OpenVINO GenAI takes several prompts: what stands under a zero of the mask is left out."""
    import numpy as np
    import openvino
    import openvino_genai

    ids = np.zeros((len(prompts), max(map(len, prompts))), np.int64)
    mask = np.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, : len(prompt)], mask[row, : len(prompt)] = prompt, 1
    return openvino_genai.TokenizedInputs(openvino.Tensor(ids), openvino.Tensor(mask))


def _peer_transformers(options: argparse.Namespace) -> int:
    import torch
    import transformers

    torch.set_num_threads(_threads())
    path = Path(options.model)
    model = transformers.AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)
    model.eval()
    print("ready", flush=True)
    for line in sys.stdin:
        question = json.loads(line)
        begun, made = time.perf_counter(), 0
        for ids in question["prompts"][::SHARE]:
            prompt = torch.tensor([ids])
            with torch.inference_mode():
                out = model.generate(
                    prompt,
                    attention_mask=torch.ones_like(prompt),
                    do_sample=False,
                    max_new_tokens=question["tokens"],
                    eos_token_id=question["end"],
                )
            made += out.shape[1] - prompt.shape[1]
        print(json.dumps({"speed": made / (time.perf_counter() - begun)}), flush=True)
    return 0


_PEERS = {"bare": _peer_bare, "openvino": _peer_openvino, "transformers": _peer_transformers}


def _texts(release: releases.Release, count: int) -> list[str]:
    """Held-out inputs of the release's data, which lie in the same home."""
    split = release.folder.parents[2] / "data" / release.manifest.data_digest / "test.jsonl"
    if not split.is_file():
        raise SystemExit(f"{split} is not there: wanted a release in the home that it was made in")
    texts = [json.loads(line)["parts"]["input"] for line in split.read_text("utf-8").splitlines()]
    if len(texts) < count:
        raise SystemExit(f"{split} holds {len(texts)} texts and {count} are wanted: fewer --rounds or --each")
    return texts[:count]


def _long(texts: Sequence[str], tokenizer: Tokenizer, length: int) -> list[str]:
    """Several texts together, of `length` tokens each: an answer to one for each client fills the cache."""
    found: list[str] = []
    begun = ""
    for text in (*texts, *(text[::-1] for text in texts)):
        begun = f"{begun} {text}".strip()
        if len(tokenizer.encode(begun, special=False)) >= length:
            ids = tokenizer.encode(begun, special=False)[:length]
            found.append(tokenizer.decode(ids))
            begun = ""
    return found


# -- small things ---------------------------------------------------------------------------------------------------
def _threads() -> int:
    return min(8, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _until_open(process: "subprocess.Popen[str]", port: int) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if process.poll() is not None:
            raise SystemExit("spearhead serve ended before it was ready")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1) as link:
            link.sendall(b"GET /ready HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            if b" 200 " in link.recv(64):
                return
        time.sleep(0.02)
    raise SystemExit("spearhead serve is not ready after a minute")


def _end(process: "subprocess.Popen[str]") -> None:
    process.terminate()
    try:
        process.wait(40)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _options() -> argparse.Namespace:
    it = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    it.add_argument("--release", type=Path, help="folder of a release")
    it.add_argument("--clients", type=int, default=16)
    it.add_argument("--each", type=int, default=3, help="texts that each of them asks about in a round")
    it.add_argument("--tokens", type=int, default=128, help="tokens of an answer at most")
    it.add_argument("--rounds", type=int, default=5)
    it.add_argument("--peers", default=",".join(TARGETS), help="which of them, with commas")
    it.add_argument("--serve", default=f"{sys.executable} -m spearhead.cli", help="the command that is spearhead")
    for hidden in ("--peer", "--model"):
        it.add_argument(hidden, default="", help=argparse.SUPPRESS)
    for hidden in ("--port", "--context"):
        it.add_argument(hidden, type=int, default=0, help=argparse.SUPPRESS)
    options = it.parse_args()
    if not options.peer and options.release is None:
        it.error("--release is wanted: the folder of a release")
    if unknown := sorted(set(options.peers.split(",")) - set(TARGETS)):
        it.error(f"--peers: {unknown[0]!r} is unknown, there are {', '.join(TARGETS)}")
    return options


if __name__ == "__main__":
    sys.exit(main())
