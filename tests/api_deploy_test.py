"""Promises of the files that put a server into operation: they start what exists, as nobody special."""

import configparser
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from deploy import trial

from spearhead import cli
from spearhead.core.errors import InputError
from spearhead.provenance import signing
from spearhead.store import database, releases
from spearhead.store.home import Home

DEPLOY = Path(__file__).parent.parent / "deploy"


def test_the_image_starts_the_server_as_an_ordinary_user() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    start = json.loads(re.findall(r"^ENTRYPOINT (.*)$", text, re.M)[-1])
    options = json.loads(re.findall(r"^CMD (.*)$", text, re.M)[-1])
    parsed = cli.parser().parse_args(options)
    assert start == ["spearhead"] and (parsed.host, parsed.port) == ("0.0.0.0", 8000)
    assert re.findall(r"^USER (.*)$", text, re.M)[-1] == "spearhead" and "EXPOSE 8000" in text
    assert "[train]" not in text and "torch" not in text.partition("\nFROM")[2]
    assert re.findall(r"^FROM (\S+)", text, re.M) == ["${BASE}", "${BASE}"] and "ARG BASE=python:3.11-slim\n" in text
    assert set(re.findall(r"^COPY (?!--from)(.*) \S+$", text, re.M)) == {"pyproject.toml README.md LICENSE", "src"}
    sent = (DEPLOY / "Dockerfile.dockerignore").read_text().split()
    assert sent[0] == "*" and {"!pyproject.toml", "!README.md", "!LICENSE", "!src"} <= set(sent)


def test_what_is_told_at_the_heads_is_what_the_command_line_knows() -> None:
    told = [line for name in ("Dockerfile", "spearhead.service") for line in trial.commands(name)]
    assert len(told) == 6 + 7 and len(trial.commands("spearhead-bill.timer")) == 2
    words = [
        shlex.split(line.rpartition("spearhead ")[2]) for line in told if re.search(r"spearhead (keys|bill) ", line)
    ]
    assert [cli.parser().parse_args(options).action for options in words] == ["create", "run", "create"]


@pytest.mark.parametrize("file", ["Dockerfile", "spearhead.service"])
def test_what_the_heads_say_to_bring_is_served_where_it_was_brought(
    tmp_path: Path, make_release: Any, file: str
) -> None:
    made, there = tmp_path / "made", tmp_path / "there"
    make_release(made / "releases")
    there.mkdir()
    (line,) = (line for line in trial.commands(file) if "releases" in line)
    line = re.sub(r"docker run .* tar \S+ -x -C data", f"tar -x -C {there}", line).partition(" && ")[0]
    line = line.replace(".spearhead", str(made)).replace("/var/lib/spearhead/", str(there))
    subprocess.run(["sh", "-ec", line], check=True)
    home = Home(there, tmp_path / "cache")
    assert (public := signing.public(home)) is not None
    assert releases.verify(home.releases / "tiny" / "v1", public_key=public) == []


def unit_of(name: str) -> configparser.RawConfigParser:
    """A unit of systemd; of a key that is there twice, the last."""
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[method-assign, assignment]
    assert unit.read(DEPLOY / name)
    return unit


def test_invoices_are_written_every_hour_by_the_same_user_over_the_same_home() -> None:
    bill, serve = (unit_of(name)["Service"] for name in ("spearhead-bill.service", "spearhead.service"))
    program, *options = shlex.split(bill["ExecStart"])
    parsed = cli.parser().parse_args(options)
    assert options[0] == "bill" and parsed.action == "run" and program == shlex.split(serve["ExecStart"])[0]
    for name in ("User", "StateDirectory", "WorkingDirectory", "NoNewPrivileges", "ProtectSystem"):
        assert bill[name] == serve[name], name
    text = (DEPLOY / "spearhead-bill.service").read_text()
    assert bill["Type"] == "oneshot" and "Environment=SPEARHEAD_HOME=/var/lib/spearhead" in text
    timer = unit_of("spearhead-bill.timer")
    assert timer["Timer"]["OnCalendar"] == "hourly" and timer["Timer"]["Persistent"] == "yes"
    assert timer["Install"]["WantedBy"] == "timers.target"
    (line,) = re.findall(r"  7 \* \* \* \* (.*)$", (DEPLOY / "spearhead-bill.timer").read_text(), re.M)
    assert cli.parser().parse_args(shlex.split(line)[2:]).action == "run"


def test_the_unit_starts_the_server_on_this_machine_alone() -> None:
    service = unit_of("spearhead.service")["Service"]
    program, *options = shlex.split(service["ExecStart"])
    parsed = cli.parser().parse_args(options)
    assert program.endswith("/bin/spearhead") and (parsed.host, parsed.port) == ("127.0.0.1", 8000)
    assert service["NoNewPrivileges"] == "yes" and service["ProtectSystem"] == "strict"
    assert "AF_UNIX" in service["RestrictAddressFamilies"]  # the runtime listens on such a socket
    assert service["User"] == "spearhead" and "DynamicUser" not in service  # the command line opens the same folder
    text = (DEPLOY / "spearhead.service").read_text()
    assert "pip install '.[" in text and "pip install spearhead" not in text  # that name on an index is not ours
    assert int(service["TimeoutStopSec"]) > 30  # running answers have half a minute
    for name in ("spearhead.service", "spearhead-bill.service"):
        assert unit_of(name)["Service"]["EnvironmentFile"] == "-/etc/spearhead.env"


def test_the_unit_waits_for_a_database_and_not_for_a_person(tmp_path: Path) -> None:
    unit = unit_of("spearhead.service")
    assert unit["Service"]["Restart"] == "on-failure" and unit["Unit"]["StartLimitIntervalSec"] == "0"
    for_people = int(unit["Service"]["RestartPreventExitStatus"])
    with pytest.raises(database.StoreUnavailable) as away:
        database.migrate("postgresql://nobody@127.0.0.1:1/nowhere")
    assert InputError.exit_code == for_people != away.value.exit_code


def test_openvino_may_make_code_under_the_units() -> None:
    for name in ("spearhead.service", "spearhead-bill.service"):
        service = unit_of(name)["Service"]
        assert "MemoryDenyWriteExecute" not in service and service["PrivateUsers"] == "yes"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_understands_every_line_of_the_units(tmp_path: Path) -> None:
    for unit in DEPLOY.glob("spearhead*.[st]*"):
        (tmp_path / unit.name).write_text(unit.read_text().replace("/opt/spearhead/bin/spearhead", sys.executable))
    done = subprocess.run(
        ["systemd-analyze", "verify", *map(str, sorted(tmp_path.iterdir()))],
        capture_output=True,
        text=True,
        check=False,
    )
    assert len(list(tmp_path.iterdir())) == 3 and (done.returncode, done.stderr) == (0, "")
