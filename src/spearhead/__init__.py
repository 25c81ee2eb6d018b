"""spearhead: one generation scenario from licensed data to a labelled, measured, billed answer."""

import os

__version__ = "0.1.0"

# onnxruntime and the hub's client report their use to their makers unless told not to before they are loaded.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
