"""Nothing tells its makers that it is used. Every server of the suite is watched: see `Served.close` in conftest.py."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from tests import conftest
from tests.conftest import SERVE

SCRIPT = """
import sys
from pathlib import Path
import numpy as np
import spearhead
import onnx, onnxruntime
from onnx import TensorProto, helper
one = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
two = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
graph = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "g", [one], [two])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
print(session.run(None, {"x": np.ones(1, np.float32)})[0][0])
"""


def test_the_onnx_runtime_keeps_no_identity_and_no_events(tmp_path: Path) -> None:
    hidden = ("CI", "GITHUB_ACTIONS", "ORT_DISABLE_TELEMETRY")  # it keeps quiet on build machines by itself
    env = {name: value for name, value in os.environ.items() if name not in hidden}
    env |= {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache"), "XDG_DATA_HOME": str(tmp_path / "data")}
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "-1.0"
    assert not [path for path in tmp_path.rglob("*") if path.is_file()], "neither a device's name nor events waiting"


def test_a_test_that_speaks_to_anybody_fails_where_it_does() -> None:
    with pytest.raises(PermissionError, match="a test talks to nobody"):
        socket.create_connection(("192.0.2.1", 9), timeout=1)
    with pytest.raises(PermissionError, match="example.org"):
        socket.getaddrinfo("example.org", 80)
    with socket.create_server(("127.0.0.1", 0)) as here:
        socket.create_connection(here.getsockname(), timeout=5).close()


def test_a_server_that_speaks_to_anybody_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chatty = SERVE.replace(
        "root, host, port", "import socket\nsocket.create_connection(('192.0.2.1', 9))\nroot, host, port", 1
    )
    monkeypatch.setattr(conftest, "SERVE", chatty)
    with pytest.raises(AssertionError, match="talks to nobody"):
        conftest.start_server(tmp_path)
    assert (tmp_path / "egress.log").read_text().startswith("socket.getaddrinfo 192.0.2.1")
    assert chatty != SERVE
