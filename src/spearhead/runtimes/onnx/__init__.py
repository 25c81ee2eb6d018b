"""Picture models in ONNX, run in a thread of the server's own process; concurrent requests share batches."""

from spearhead.runtimes.onnx.client import Onnx, Settings

__all__ = ["Onnx", "Settings"]
