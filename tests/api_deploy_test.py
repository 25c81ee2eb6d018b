"""Promises of the files that put a server into operation: they start what exists, as nobody special."""

import configparser
import json
import re
import shlex
from pathlib import Path

from spearhead import cli

DEPLOY = Path(__file__).parent.parent / "deploy"


def test_the_image_starts_the_server_as_an_ordinary_user() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    start = json.loads(re.findall(r"^ENTRYPOINT (.*)$", text, re.M)[-1])
    options = json.loads(re.findall(r"^CMD (.*)$", text, re.M)[-1])
    parsed = cli.parser().parse_args(options)
    assert start == ["spearhead"] and (parsed.host, parsed.port) == ("0.0.0.0", 8000)
    assert re.findall(r"^USER (.*)$", text, re.M)[-1] == "spearhead" and "EXPOSE 8000" in text
    assert "[train]" not in text and "torch" not in text.partition("\nFROM")[2]


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
