"""Text models in GGUF, served by llama.cpp in a process of its own; the network sees no port of it."""

from spearhead.runtimes.llamacpp.ahead import Ahead
from spearhead.runtimes.llamacpp.client import LlamaCpp
from spearhead.runtimes.llamacpp.process import Settings

__all__ = ["Ahead", "LlamaCpp", "Settings"]
