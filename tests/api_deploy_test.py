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


def test_the_unit_starts_the_server_on_this_machine_alone() -> None:
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[method-assign, assignment]
    unit.read(DEPLOY / "spearhead.service")
    service = unit["Service"]
    program, *options = shlex.split(service["ExecStart"])
    parsed = cli.parser().parse_args(options)
    assert program.endswith("/bin/spearhead") and (parsed.host, parsed.port) == ("127.0.0.1", 8000)
    assert service["NoNewPrivileges"] == "yes" and service["ProtectSystem"] == "strict"
    assert "AF_UNIX" in service["RestrictAddressFamilies"]  # the runtime listens on such a socket
    assert service["User"] == "spearhead" and "DynamicUser" not in service  # the command line opens the same folder
    text = (DEPLOY / "spearhead.service").read_text()
    assert "pip install '.[" in text and "pip install spearhead" not in text  # that name on an index is not ours
    assert int(service["TimeoutStopSec"]) > 30  # running answers have half a minute
