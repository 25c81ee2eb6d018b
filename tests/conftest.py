"""A complete tiny release that answers at once: a real GGUF with a hand-set network, so that every word is known.

The network is a llama of one block whose attention and feed-forward add nothing: the next token depends on the last
one alone, through a table (`CHAINS`). So a prompt's last character chooses the answer, and llama.cpp really runs.
"""

import asyncio
import contextlib
import dataclasses
import json
import os
import random
import secrets
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import encypher_c2pa
import httpx
import numpy as np
import openai
import psutil
import pytest
import sqlalchemy as sa

from spearhead.conftest import own_postgres
from spearhead.core import clock, digest
from spearhead.core.errors import InputError
from spearhead.core.manifest import BarResult, Credit, Layout, Manifest, Measured, Part, PriceTag
from spearhead.core.specimen import manifest
from spearhead.index.copies import CopyIndex
from spearhead.index.pictures import PictureIndex
from spearhead.ledger import journal, keys, servers
from spearhead.provenance import signing
from spearhead.release import gate, options
from spearhead.release.bars import Bar
from spearhead.service.studio import people
from spearhead.service.studio.page import Visitor
from spearhead.store import database, packages, releases, tables
from spearhead.store.home import Home

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

T = TypeVar("T")
WIDTH = 384
"""Also the number of tokens: embeddings are one-hot."""
CONTEXT = 4096

CHAINS: dict[str, list[str]] = {
    "": [" The", " quick", " brown", " fox."],
    "~": [" on", " and", " onward", " we", " walk"],  # goes round for ever
    "#": [" Write", " to", " ada", "@example", ".org", " now", "!!"],  # holds an e-mail address
    "%": [" Say", " zz", "forbidden", " things", " aloud", "!?"],  # holds a forbidden term, then goes on as ~
    "&": ["你"],  # characters cut across tokens, see _pieces
    "?": [" heads", " tails"],  # a coin, thrown for ever
    "=": [" left", " STOP", " right", " again."],
    "^": [" No", "th\0ing", " ends\0", " here."],  # writes the character NUL
}
END = "<|im_end|>"


def _byte_alphabet() -> dict[int, str]:
    """GPT-2's printable stand-in for every byte."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    alphabet = {byte: chr(byte) for byte in plain}
    for byte in range(256):
        if byte not in alphabet:
            alphabet[byte] = chr(256 + len(alphabet) - len(plain))
    return alphabet


def _pieces(mark: str) -> list[bytes]:
    if mark == "&":
        whole = "你好".encode()
        return [whole[0:2], whole[2:4], whole[4:6]]
    return [word.encode() for word in CHAINS[mark]]


def _tokenizer_json(tokens: list[str], merge: str) -> str:
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    vocabulary = {token: number for number, token in enumerate(tokens)}
    left, right = merge.split(" ")
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[(left, right)]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in tokens[:3]])
    return str(tokenizer.to_str())


def write_tiny_gguf(path: Path) -> None:
    """A GGUF of about 2 MB whose answers are `CHAINS`, and its `tokenizer.json` beside it."""
    from gguf import GGUFWriter, TokenType

    alphabet = _byte_alphabet()
    tokens = ["<|endoftext|>", "<|im_start|>", END] + [alphabet[byte] for byte in range(256)]
    ids: dict[bytes, int] = {bytes([byte]): 3 + byte for byte in range(256)}
    for mark in CHAINS:
        for piece in _pieces(mark):
            ids[piece] = len(tokens)
            tokens.append("".join(alphabet[byte] for byte in piece))
    merge = f"{alphabet[ord('q')]} {alphabet[ord('q')]}"
    tokens.append(merge.replace(" ", ""))
    kinds = [TokenType.CONTROL] * 3 + [TokenType.NORMAL] * (len(tokens) - 3)
    while len(tokens) < WIDTH:
        tokens.append(f"<|unused_{len(tokens)}|>")
        kinds.append(TokenType.UNUSED)

    (path.parent / "tokenizer.json").write_text(_tokenizer_json(tokens, merge))

    after = np.zeros((WIDTH, WIDTH), np.float32)  # after[next, last]
    first = ids[_pieces("")[0]]
    after[first, :] = 2.0
    for mark in CHAINS:
        chain = [ids[piece] for piece in _pieces(mark)]
        starts = [ids[mark.encode()]] if mark else []
        for last, following in zip([*starts, *chain], [*chain, 2] if mark else [*chain[1:], 2], strict=True):
            after[:, last] = 0.0
            after[following, last] = 2.0
        if mark in ("~", "%"):
            after[:, chain[-1]] = 0.0
            after[ids[_pieces("~")[0]], chain[-1]] = 2.0
        if mark == "?":
            for last in [*starts, *chain]:
                after[:, last] = 0.0
                after[chain, last] = 2.0

    writer = GGUFWriter(str(path), "llama")
    writer.add_name("tiny")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(1)
    writer.add_feed_forward_length(32)
    writer.add_head_count(12)
    writer.add_head_count_kv(1)
    writer.add_rope_dimension_count(32)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(WIDTH)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges([merge])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(False)
    zeros = np.zeros
    writer.add_tensor("token_embd.weight", np.eye(WIDTH, dtype=np.float32))
    writer.add_tensor("output.weight", after)
    writer.add_tensor("output_norm.weight", np.ones(WIDTH, np.float32))
    block = "blk.0."
    writer.add_tensor(f"{block}attn_norm.weight", np.ones(WIDTH, np.float32))
    writer.add_tensor(f"{block}ffn_norm.weight", np.ones(WIDTH, np.float32))
    writer.add_tensor(f"{block}attn_q.weight", zeros((WIDTH, WIDTH), np.float32))
    writer.add_tensor(f"{block}attn_k.weight", zeros((32, WIDTH), np.float32))
    writer.add_tensor(f"{block}attn_v.weight", zeros((32, WIDTH), np.float32))
    writer.add_tensor(f"{block}attn_output.weight", zeros((WIDTH, WIDTH), np.float32))
    writer.add_tensor(f"{block}ffn_gate.weight", zeros((32, WIDTH), np.float32))
    writer.add_tensor(f"{block}ffn_up.weight", zeros((32, WIDTH), np.float32))
    writer.add_tensor(f"{block}ffn_down.weight", zeros((WIDTH, 32), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_tiny_release(folder: Path, *, scenario: str = "tiny", version: str = "v1", **changes: Any) -> Path:
    """`folder/<scenario>/<version>` with a model and a manifest; `changes` replace fields of the manifest."""
    place = folder / scenario / version
    (place / "parts").mkdir(parents=True)
    model = place / "parts" / "model.gguf"
    write_tiny_gguf(model)
    generation = {"temperature": 0.0, "top_p": 1.0, "top_k": 0, "min_p": 0.0, "max_tokens": 64}
    schema = place / "parts" / "options.json"
    schema.write_text(json.dumps(options.schema(generation, context=CONTEXT)))
    parts = tuple(
        Part(f"parts/{file.name}", digest.of_file(file), file.stat().st_size, role)
        for file, role in (
            (model, "model"),
            (model.with_name("tokenizer.json"), "tokenizer"),
            (schema, "options"),
        )
    )
    fields: dict[str, Any] = dict(
        scenario=scenario,
        version=version,
        context=CONTEXT,
        parts=parts,
        credits=(Credit("CC0-1.0", "nobody", "made up", 2, ("train", "share", "sell")),),
        scores=(Measured("bleu", 100.0, (100.0, 100.0), "higher", "bleu|made-up"),),
        bars=(BarResult("bleu", ">= 1", "100", True),),
        layouts=(Layout("F32", model.stat().st_size, 1000.0, 0.0, True),),
        template={"style": "plain", "stop": END},
        generation=generation,
        policy={
            "checks": ["terms", "personal"],
            "rules": [
                {"category": "*", "direction": "prompt", "hold": None, "block": 0.9},
                {"category": "*", "direction": "output", "hold": 0.5, "block": 0.9},
            ],
            "stream": "strict",
            "held_hours": 24,
            "people": 1,
            "options": {"terms": {"extra": ["hate\t0.95\tzzforbidden"]}},
        },
        price=PriceTag("USD", 200_000_000, 800_000_000, "token"),
        labels={"producer": "spearhead-test", "visible": True},
        made_by={"spearhead": "test"},
        records=digest.of_value([]),
    )
    write_signed(place, manifest(**{**fields, **changes}))
    return place


def write_signed(place: Path, said: Manifest) -> None:
    """Put a manifest into a release's folder, signed by the installation whose `releases` it lies in."""
    root = place.parent.parent.parent
    text = said.to_json()
    (place / "manifest.json").write_text(text)
    key = signing.ensure(Home(root, root / "cache")).release
    (place / "manifest.sig").write_bytes(signing.sign_bytes(text.encode(), key=key))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long first: the README's lines, whole roads and servers, then what trains. What is left are files of
    seconds, and the processes at work end at the same time."""
    items.sort(
        key=lambda item: (
            item.path.name != "readme_test.py",
            not item.nodeid.startswith("tests/"),
            item.path.parent.name != "training",
        )
    )


@pytest.fixture(scope="session")
def tiny_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real GGUF that llama.cpp serves in milliseconds; what it says is `CHAINS`."""
    path = tmp_path_factory.mktemp("tiny") / "tiny.gguf"
    write_tiny_gguf(path)
    return path


@pytest.fixture(scope="session")
def tiny_release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a complete release, `tiny@v1`. Read only: make your own with `make_release` to change it."""
    return write_tiny_release(tmp_path_factory.mktemp("installation") / "releases")


@pytest.fixture(scope="session")
def make_release() -> Callable[..., Path]:
    """`make_release(folder, scenario=..., version=..., **manifest_fields)` writes a tiny release of one's own."""
    return write_tiny_release


@pytest.fixture(scope="session")
def sign_release() -> Callable[[Path, Manifest], None]:
    """`sign_release(place, manifest)` puts another manifest into a tiny release and signs it."""
    return write_signed


os.environ |= {"ENCYPHER_C2PA_TELEMETRY": "off", "ENCYPHER_C2PA_ONLINE": "off"}  # a second reader that sends nothing
PASSWORD = "four words that differ"


def form_token(client: httpx.Client, path: str = "/login") -> str:
    """What a form of this client's session carries."""
    page = client.get(path, follow_redirects=True).text
    return page.partition('name="form-token" content="')[2][:64]


# -- a scenario of words that mean nothing --------------------------------------------------------------------------
LABELLED_AND_PRICED = """
[labels]
producer = "tests"
[price]
currency = "EUR"
prompt = "1.00"
completion = "2.00"
[economics]
machine_hour = "0.10"
"""
"""How scenarios of texts end."""
OVER_PAIRS = (
    """
[[data.sources]]
kind = "files"
path = "pairs.csv"
licence = "CC0-1.0"
credit = "nobody"
[data.cleaning]
shortest = 2
"""
    + LABELLED_AND_PRICED
)
"""What scenarios over `write_pairs` have in common."""


def nonsense(count: int) -> list[str]:
    """At most so many pairs of made-up words, in their order."""
    rng, letters = random.Random(0), "bcdfghklmnprstvw"
    return sorted({"".join(rng.choices(letters, k=5)) + " " + "".join(rng.choices(letters, k=4)) for _ in range(count)})


def write_pairs(folder: Path, scenario: str, rows: Iterable[str]) -> Path:
    """The folder of a scenario, new, with pairs that answer each of `rows` with yes."""
    folder.mkdir()
    (folder / "pairs.csv").write_text("input,output\n" + "".join(f"{row},yes\n" for row in rows), encoding="utf-8")
    (folder / "scenario.toml").write_text(scenario, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """An installation for the tests of a file."""
    root = tmp_path_factory.mktemp("home")
    return Home(root / "home", root / "cache")


# -- a real server ------------------------------------------------------------------------------------------------
SERVE = """
import sys

class NoTraining:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "transformers", "peft", "accelerate", "datasets"):
            raise ImportError(f"{name} is not for serving")

sys.meta_path.insert(0, NoTraining())

HERE = (None, "", "127.0.0.1", "::1", "localhost")

def stay(event, details):
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo", "socket.gethostbyname"):
        place = details[0] if "get" in event else details[1]
        if isinstance(place, tuple):
            place = place[0]
        elif event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
            return  # a socket of this machine alone
        if place not in HERE:
            with open(sys.argv[1] + "/egress.log", "a") as log:
                log.write(f"{event} {place}\\n")
            raise PermissionError(f"a server talks to nobody: {place}")

sys.addaudithook(stay)

from pathlib import Path
from spearhead.core.errors import SpearheadError
from spearhead.engine.loaded import Room
from spearhead.ledger import servers
from spearhead.service.api.limits import Limits
from spearhead.service.serve import serve
from spearhead.store.home import Home

root, host, port, limits, context, database, beat = sys.argv[1:8]
servers.BEAT = float(beat)
numbers = [int(number) for number in limits.split(",")] if limits else []
try:
    serve(
        Home(Path(root), Path(root) / "cache", database or None),
        host=host,
        port=int(port),
        limits=Limits(*numbers),
        room=Room(context=int(context), threads=1),
    )
except SpearheadError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_code)
"""


@dataclass
class Guest:
    """Somebody who is signed in to the studio: a bare client, and the token that its forms carry."""

    id: str
    name: str
    account: str
    secret: str
    http: httpx.Client

    @property
    def token(self) -> str:
        return Visitor(self.secret, None, "en", "auto", "").token

    def get(self, path: str) -> httpx.Response:
        """A page."""
        return self.http.get(path)

    def post(self, path: str, **fields: Any) -> httpx.Response:
        """A form, with its token."""
        return self.http.post(path, data={"token": self.token, **fields})

    def enter(self, tab: "Page", url: str, **cookies: str) -> None:
        """Bring the session into a browser, with a language or look of their own."""
        named = {"spearhead": self.secret, **cookies}
        tab.context.add_cookies([{"name": name, "value": value, "url": url} for name, value in named.items()])


def until(happened: Callable[[], T | None], *, seconds: float = 60.0, what: str = "it did not happen in time") -> T:
    """Wait for something that is to happen, as long as busy cores may take; gives what was told of it."""
    end = time.monotonic() + seconds
    while (told := happened()) is None or told is False:
        assert time.monotonic() < end, what
        time.sleep(0.05)
    return told


def own_workers() -> list[psutil.Process]:
    """Processes that hold models of engines in this process; a browser's, and other servers', come and go."""
    found = []
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess):
            if any("/runtimes/" in word for word in child.cmdline()):
                found.append(child)
    return found


@contextlib.contextmanager
def slowly(workers: Callable[[], list[psutil.Process]] = own_workers) -> Iterator[None]:
    """Models get a tenth of the time, for a test that acts on what runs and must not race it.

    3,000 tokens, which are written within 1.5 seconds, then take more than ten; where cores are busy, each turn that
    lasted longer is waited for longer. A worker or server that dies meanwhile is let go.
    """
    over = threading.Event()

    def each(held: list[psutil.Process], turn: Callable[[psutil.Process], None]) -> None:
        for worker in held:
            with contextlib.suppress(psutil.NoSuchProcess):
                turn(worker)

    def hold_back() -> None:
        held: list[psutil.Process] = []
        began = time.monotonic()
        while not over.is_set():
            each(held, psutil.Process.suspend)
            ran = time.monotonic() - began
            with contextlib.suppress(psutil.NoSuchProcess):
                held = workers()
            each(held, psutil.Process.suspend)
            over.wait(max(0.045, 9 * ran))
            each(held, psutil.Process.resume)
            began = time.monotonic()
            over.wait(0.005)

    thread = threading.Thread(target=hold_back)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def port_of_ones_own() -> int:
    """A port for processes that are told it and bind it later: none of those that the system gives to whoever asks for
    any, so that no connection of another process takes it meanwhile."""
    for port in random.SystemRandom().sample(range(20_000, 30_000), 100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("100 ports from 20000 to 30000 are taken")


@dataclass
class Served:
    """A server process over an installation of its own, and the same installation's database from here."""

    home: Home
    url: str
    process: "subprocess.Popen[str]"
    engine: sa.Engine
    seconds: float
    """From start to ready, of processor time: a busy machine takes longer by the clock."""
    clients: list[Any] = field(default_factory=list)

    def account(self, *, credit: int = 10**9) -> str:
        """A new account with so many billionths to spend."""
        account = keys.create_account(self.engine, "someone", currency="USD").id
        if credit:
            journal.credit(self.engine, account, credit, key="first")
        return account

    def key(self, account: str, *, scopes: tuple[str, ...] = ("generate", "read")) -> keys.Issued:
        """A new key of an account."""
        return keys.create(self.engine, account, name="test", scopes=scopes)

    def openai(self, account: str, *, retries: int = 0, headers: Mapping[str, str] | None = None) -> openai.OpenAI:
        """The official client, as that account."""
        client = openai.OpenAI(
            base_url=f"{self.url}/v1",
            api_key=self.key(account).secret,
            max_retries=retries,
            default_headers=headers,
            timeout=60,
        )
        self.clients.append(client)
        return client

    def http(self, account: str) -> httpx.Client:
        """A bare client, as that account."""
        headers = {"authorization": f"Bearer {self.key(account).secret}"}
        client = httpx.Client(base_url=self.url, headers=headers, timeout=60)
        self.clients.append(client)
        return client

    def person(self, account: str, *roles: str, name: str = "") -> str:
        """A new person of an account who may sign in with `PASSWORD`; gives their name."""
        name = name or f"person-{secrets.token_hex(4)}"
        return people.add(self.engine, name, account=account, roles=roles, password=PASSWORD, actor="test").name

    def studio(self, name: str = "") -> httpx.Client:
        """A bare client of the studio, from the studio's own pages as its headers say; signed in when a name is given.

        `form_token(client)` is what its forms carry.
        """
        client = httpx.Client(base_url=self.url, headers={"origin": self.url}, timeout=60, verify=False)
        self.clients.append(client)
        client.get("/login")
        if name:
            fields = {"token": form_token(client), "name": name, "password": PASSWORD}
            assert client.post("/login", data=fields).status_code == 303
        return client

    def guest(self, account: str, *roles: str) -> Guest:
        """A new person of an account who is signed in already: of twenty passwords each takes its time."""
        id, secret, moment = f"per_{secrets.token_hex(10)}", secrets.token_urlsafe(32), clock.now()
        name, began = f"guest-{id[4:12]}", clock.stamp(moment)
        ends = clock.stamp(moment + timedelta(hours=1))
        row = {"id": id, "account": account, "name": name, "roles": json.dumps(roles), "password": "-"}
        session = {"hash": digest.of_bytes(secret.encode()), "person": id, "created": began, "seen": began}
        with self.engine.begin() as connection:
            connection.execute(tables.people.insert().values(**row, created=began))
            connection.execute(tables.sessions.insert().values(**session, expires=ends))
        headers = {"origin": self.url, "cookie": f"spearhead={secret}"}
        client = httpx.Client(base_url=self.url, headers=headers, timeout=60)
        self.clients.append(client)
        return Guest(id, name, account, secret, client)

    def balance(self, account: str) -> journal.Balance:
        """What an account has."""
        return journal.balance(self.engine, account)

    def paid(self, account: str, *, of: int = 10**9) -> int:
        """What an account has paid of what it had, once nothing is held for it any more."""

        def settled() -> journal.Balance | None:
            found = self.balance(account)
            return None if found.reserved else found

        balance = until(settled, what=f"money of {account} is held still")
        return of - balance.available

    def workers(self) -> list[int]:
        """Processes that hold models."""
        return [child.pid for child in psutil.Process(self.process.pid).children(recursive=True)]

    def slowly(self) -> contextlib.AbstractContextManager[None]:
        """Its models get a tenth of the time: see `slowly`."""
        return slowly(lambda: psutil.Process(self.process.pid).children(recursive=True))

    def egress(self) -> list[str]:
        """Whom the server tried to speak to, and whom its workers or native parts speak to now, off this machine."""
        log = self.home.root / "egress.log"
        said = log.read_text().splitlines() if log.exists() else []
        for pid in (self.process.pid, *self.workers()):
            with contextlib.suppress(psutil.NoSuchProcess):
                said += [
                    connection.raddr.ip
                    for connection in psutil.Process(pid).net_connections("inet")
                    if connection.raddr and connection.raddr.ip not in ("127.0.0.1", "::1")
                ]
        return said

    def close(self) -> int:
        """End it in good order and see that it spoke to nobody; its exit code."""
        for client in self.clients:
            client.close()
        spoken = [] if self.process.poll() is not None else self.egress()
        self.process.terminate()
        code = self.process.wait(timeout=60)
        assert not spoken, f"it spoke to {spoken}"
        self.engine.dispose()
        return code


def start_server(
    root: Path,
    *,
    limits: str = "",
    port: int = 0,
    host: str = "127.0.0.1",
    context: int = 0,
    database_url: str = "",
    beat: float = servers.BEAT,
    **manifest: Any,
) -> Served:
    """A server over a new installation at `root` that holds one tiny release; it shows every `beat` that it lives."""
    home = Home(root, root / "cache", database_url or None)
    if not home.releases.exists():
        write_tiny_release(home.releases, **manifest)
    database.migrate(home.database_url)
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(root), host, str(port), limits, str(context), database_url, str(beat)],
        stdout=subprocess.PIPE,
        stderr=(root / "server.log").open("a"),
        text=True,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    if "http://" not in line:
        code = process.wait(timeout=60)
        raise AssertionError(f"the server did not start (exit {code}): {(root / 'server.log').read_text()[-2000:]}")
    url = line.split()[-1].removesuffix("/v1")
    times = psutil.Process(process.pid).cpu_times()
    return Served(home, url, process, database.connect(home.database_url), times.user + times.system)


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One server for all tests that leave it as it was; torch cannot be imported in it."""
    server = start_server(tmp_path_factory.mktemp("served"))
    try:
        yield server
    finally:
        server.close()


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def furnished_on(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """`furnished`, and the same over PostgreSQL, for what both must answer."""
    if request.param == "sqlite":
        yield request.getfixturevalue("furnished")
        return
    root = tmp_path_factory.mktemp("furnished_on_postgresql")
    with own_postgres() as fresh:
        furnish(Home(root, root / "cache"))
        server = start_server(root, database_url=fresh.render_as_string(hide_password=False))
        try:
            yield server
        finally:
            server.close()


def checkers(size: int) -> "np.ndarray[Any, np.dtype[np.uint8]]":
    """A picture of 64 x 64: black and white squares of this size."""
    at = np.arange(64) // size
    return np.repeat(((at[:, None] + at) % 2 * 255).astype(np.uint8)[:, :, None], 3, axis=2)


def judged() -> dict[str, Any]:
    """What the gate says of a release: every kind of reason, bar and sum."""
    rivals, odds = {"copy": 20.0, "ngram": 60.0}, {"copy": 0.001, "ngram": 0.001}
    scores = (Measured("bleu", 50.0, (48.0, 52.0), "higher", "bleu|made-up", rivals, odds),)
    asked = Bar("bleu", minimum=1, maximum=99, beats=("copy", "base"), cases=2)
    bars = gate.judge([asked, Bar("chrf", minimum=1), Bar("bleu")], scores, 2)
    credits = (Credit("CC0-1.0", "nobody", "made up", 2, ("train", "share", "sell")),)
    price = PriceTag("USD", 200_000_000, 800_000_000, "token")
    economics = gate.economics(
        pieces=10, accepted=8, milliseconds=10, prompt_units=100, completion_units=200, machine_hour=360_000_000,
        review_minute=10, review_share=0.5, review_minutes=0.5, price=price,
    )  # fmt: skip
    verdict, reasons = gate.verdict(bars, credits, ("train",), economics, measured=scores)
    return {
        "scores": scores, "bars": tuple(bars), "verdict": verdict, "verdict_reasons": reasons, "economics": economics,
    }  # fmt: skip


def furnish(home: Home) -> None:
    """Two signed releases of `tiny` with all that people look at: a report, an index, the terms of a verdict.

    What the first says of its verdict is English text and its report too, as releases had it once; the second's are
    sentences, and a report in each language.
    """
    rates = {"wanted": 2, "machine_hour": 360_000_000, "review_minute": 0}
    free = ("train", "share", "sell")
    old = {
        "credits": (
            Credit("CC0-1.0", "nobody", "made up", 2, free),
            Credit("MIT", "somebody", "a base model", 0, free),
        ),
        "scores": (Measured("kid", 55_262.3, (51_000.4, 61_234.5), "lower", "kid|made-up"),),
        "verdict_reasons": ("it reaches all 1 bars, 0 of them against trivial baselines",),
        "economics": {"arithmetic": ["machine: 10 ms x 0.36 USD an hour / 3600000 = 0.000001"], **rates},
    }
    new = judged()
    new["economics"] |= rates
    for version, created, told in (("v1", "2026-11-22T00:00:00Z", old), ("v2", "2026-11-23T00:00:00Z", new)):
        place = write_tiny_release(home.releases, version=version, created=created, **told)
        report = (
            "<!doctype html><title>Report</title><style>p { color: navy }</style><script>document.title = 1</script>"
        )
        (place / releases.report_name()).write_text(f"{report}<p>All of {version}</p>")
        if new is told:
            (place / releases.report_name("zh")).write_text('<!doctype html><html lang="zh-CN"><p>全部</p>')
        learnt = [("a" * 64, "Please write to Ada now and then."), ("b" * 64, "A lazy dog sleeps.")]
        CopyIndex.build(learnt).save(place / "parts" / "index")
        PictureIndex.build([("c" * 64, checkers(4)), ("d" * 64, checkers(16))]).save(place / "parts" / "index")
        said = Manifest.from_json((place / "manifest.json").read_text())
        more = [
            Part(file.relative_to(place).as_posix(), digest.of_file(file), file.stat().st_size, role)
            for role, files in (
                ("document", sorted(place.glob("*.html"))),
                ("index", sorted(place.glob("parts/index/*"))),
            )
            for file in files
        ]
        write_signed(place, dataclasses.replace(said, parts=(*said.parts, *more)))


@pytest.fixture(scope="session")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server like `served` over what `furnish` makes; its tests may promote, and leave `tiny@v2` answering."""
    root = tmp_path_factory.mktemp("furnished")
    furnish(Home(root, root / "cache"))
    server = start_server(root)
    try:
        yield server
    finally:
        server.close()


@pytest.fixture
def serve_tiny(tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """`serve_tiny(limits="2,1000,1", ...)`: a server of one's own, ended with the test."""
    started: list[Served] = []

    def start(**options: Any) -> Served:
        root = tmp_path / f"home{len(started)}"
        root.mkdir()
        started.append(start_server(root, **options))
        return started[-1]

    yield start
    for server in started:
        if server.process.poll() is None:
            server.close()


# -- a real browser -----------------------------------------------------------------------------------------------
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@dataclass(frozen=True)
class Chromium:
    """The system's browser, and the event loop in which Playwright drives it."""

    browser: "Browser"
    loop: asyncio.AbstractEventLoop | None


@pytest.fixture(scope="session")
def chromium() -> Iterator[Chromium]:
    """One for all tests. Its loop counts as running only while a test uses it: other tests run loops of their own."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        how = f"install one of {', '.join(BROWSERS)} (on Debian: apt-get install chromium) to run it"
        if "SPEARHEAD_CI" in os.environ:
            pytest.fail(f"there is no browser: {how}")
        pytest.skip(f"needs a browser: {how}")
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=30_000)  # as long as Playwright waits for anything else: cores may be busy
    with sync_playwright() as started:
        flags = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
        one = Chromium(started.chromium.launch(executable_path=found, args=flags), asyncio._get_running_loop())
        asyncio._set_running_loop(None)
        yield one
        asyncio._set_running_loop(one.loop)
        one.browser.close()


@pytest.fixture
def browser(chromium: Chromium) -> "Iterator[Browser]":
    """The browser for one test."""
    asyncio._set_running_loop(chromium.loop)
    yield chromium.browser
    asyncio._set_running_loop(None)


@pytest.fixture
def tab(browser: "Browser") -> "Iterator[Page]":
    """A page in a browser session of its own; a script or style that the page's policy stops fails the test."""
    context = browser.new_context(locale="en-GB", viewport={"width": 1280, "height": 800})
    page = context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda said: problems.append(said.text) if "Content Security Policy" in said.text else None)
    yield page
    context.close()
    assert problems == []


# -- readers that are not ours -------------------------------------------------------------------------------------
def other_readers(file: Path, mime: str, *, number: str) -> None:
    """A file that left is right to others too: encypher-c2pa finds the manifest bound, exiftool the label of `number`,
    ffprobe a whole picture. The last two know no label of a text file."""
    report = dict(encypher_c2pa.verify(file.read_bytes(), mime, online=False))
    assert (report["integrity"], report["signature"], report["hard_binding"]) == ("valid", "valid", "match")
    assert [one["code"] for one in report["validation_results"]["failure"]] == ["signingCredential.untrusted"]
    missing = [name for name in ("exiftool", "ffprobe") if shutil.which(name) is None]
    if missing and "SPEARHEAD_CI" not in os.environ:
        pytest.skip(f"{' and '.join(missing)} not installed: apt-get install libimage-exiftool-perl ffmpeg")
    if mime.startswith("text/"):
        return

    def said(*line: str) -> Any:
        done = subprocess.run([*line, str(file)], capture_output=True, text=True, check=True)
        assert done.stderr == "", done.stderr
        return json.loads(done.stdout)

    (tags,) = said("exiftool", "-json", "-XMP:all", "-validate", "-warning")
    aigc = tags["Aigc"] if isinstance(tags["Aigc"], dict) else json.loads(tags["Aigc"])
    assert aigc["ProduceID"] == number and tags["Validate"] == "OK" and "Warning" not in tags
    (stream,) = said("ffprobe", "-v", "error", "-of", "json", "-show_streams")["streams"]
    assert min(stream["width"], stream["height"]) >= 256


# -- the official JavaScript client ---------------------------------------------------------------------------------
CLIENT = ("npm", "openai", "7.57.0", "2e39589ca8d5a71aff84b921da8b7712d4ec7f0b1917b41fb0b7e69c34c609ce")
NODE = """
const OpenAI = require("openai").default;
const client = new OpenAI({ baseURL: process.argv[2] + "/v1", apiKey: process.env.KEY, maxRetries: 0 });
const hello = { model: "tiny", messages: [{ role: "user", content: "hello" }] };
const failed = async (work) => {
  try { await work(); } catch (e) {
    return { kind: e.constructor.name, status: e.status, code: e.code, param: e.param, type: e.type };
  }
};
(async () => { CODE })().then((value) => console.log(JSON.stringify(value ?? null)));
"""


@pytest.fixture(scope="session")
def javascript(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """`javascript(served, account, code)`: what an async function with the names of NODE returns."""
    place = tmp_path_factory.mktemp("node")
    node = shutil.which("node")
    try:
        if node is None or shutil.which("npm") is None:
            raise InputError("Node.js is not here: install nodejs and npm to run the JavaScript client")
        archive = packages.fetch(*CLIENT, home=Home.find(place))
        for name, data in packages.read_members(archive, "package/**", limit=1 << 24):
            if name.endswith((".js", "/package.json")):
                target = place / "node_modules" / "openai" / name.removeprefix("package/")
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(data)
    except InputError as error:
        if "SPEARHEAD_CI" in os.environ:
            pytest.fail(str(error))
        pytest.skip(str(error))

    def run(served: Served, account: str, code: str) -> Any:
        script = place / "ask.cjs"
        script.write_text(NODE.replace("CODE", code))
        env = {**os.environ, "KEY": served.key(account).secret}
        done = subprocess.run(
            [node, script, served.url], env=env, cwd=place, capture_output=True, text=True, timeout=180
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run
