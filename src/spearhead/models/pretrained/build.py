"""A converted base model, loaded and made ready for its method. Downloads nothing."""

import warnings
from pathlib import Path
from typing import Any

import torch

from spearhead.core.errors import InputError
from spearhead.models.pretrained.config import Config
from spearhead.models.pretrained.methods import tune
from spearhead.models.pretrained.network import NONE, Perturbation, Tuned


def build(
    config: Config,
    folder: Path,
    *,
    steps: int,
    seed: int,
    device: str = "cpu",
    perturbation: Perturbation = NONE,
) -> Tuned:
    """The model of `config` over the base in `folder` (see `base.convert`), ready to learn for `steps` steps.

    The same seed gives the same initial values. Raises InputError on a folder that holds no causal language model.
    """
    network = load(folder)
    # peft reads a name that transformers is about to change: nothing that a person here could act on.
    warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*", category=FutureWarning)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = tune(network, config, steps=steps)
    return Tuned(network, config, perturbation=perturbation).to(device)


def load(folder: Path) -> Any:
    """The transformers model in `folder`, in float32."""
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        network = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, local_files_only=True, use_safetensors=True
        )
        turn(network)
        return network
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise InputError(f"base model {folder} cannot be loaded: {error}") from error
    finally:
        if shown:
            logging.enable_progress_bar()


def turn(network: Any) -> None:
    """Compute the frequencies of rotary embeddings anew.

    They are in no checkpoint, and transformers now and then leaves the memory that it made for them as it was
    (huggingface/transformers#48892): a model without positions, and no error.
    """
    with torch.no_grad():
        for module in network.modules():
            if "RotaryEmbedding" in type(module).__name__ and hasattr(module, "config"):
                fresh = dict(type(module)(module.config).named_buffers())
                for name, buffer in module.named_buffers():
                    buffer.copy_(fresh[name])
