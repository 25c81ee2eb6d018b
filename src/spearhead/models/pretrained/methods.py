"""The ways to tune a causal language model, each by its name. Knows no data and no loop."""

from typing import Any

import torch
from torch import Tensor, nn

from spearhead.core.errors import InputError
from spearhead.models.pretrained.config import Config

IA3_TARGETS = ("k_proj", "v_proj", "down_proj")
"""What the paper scales (arXiv 2205.05638): keys, values and the input of the second feed-forward matrix."""
VIRTUAL_TOKENS = ("prefix", "prompt")


class Bottleneck(nn.Module):
    """A small network after a sublayer: `y + up(gelu(down(y)))` (Houlsby et al. 2019, arXiv 1902.00751, figure 2).

    `up` starts at zero, so that the tuned model begins as the base model.
    """

    def __init__(self, sublayer: nn.Module, *, width: int, inner: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.sublayer = sublayer
        self.down = nn.Linear(width, inner, dtype=dtype)
        self.up = nn.Linear(inner, width, dtype=dtype)
        nn.init.normal_(self.down.weight, std=0.02)
        nn.init.zeros_(self.down.bias)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, *given: Any, **named: Any) -> Any:
        """What the sublayer gives, with the bottleneck added to its first (or only) output."""
        out = self.sublayer(*given, **named)
        y: Tensor = out[0] if isinstance(out, tuple) else out
        y = y + self.up(nn.functional.gelu(self.down(y)))
        return (y, *out[1:]) if isinstance(out, tuple) else y


def layers(network: Any) -> nn.ModuleList:
    """The decoder layers of a causal language model: its longest list of modules."""
    lists = [module for module in network.modules() if isinstance(module, nn.ModuleList)]
    if not lists:
        raise InputError(f"{type(network).__name__} has no list of layers: wanted a causal language model")
    return max(lists, key=len)


def tune(network: Any, config: Config, *, steps: int) -> Any:
    """`network` made ready for `config.method`: what learns requires a gradient, nothing else does.

    `steps` is the length of the run, which AdaLoRA's schedule needs. Draws its initial values from torch's generator.
    """
    depth = len(layers(network))
    if not 0 <= config.first_layer < depth:
        raise InputError(
            f"model.first_layer is {config.first_layer}: wanted 0 to {depth - 1}, the model has {depth} layers"
        )
    if config.method not in ("none", "full") and config.rank < 1:
        raise InputError(f"model.rank is {config.rank}: wanted at least 1")
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    match config.method:
        case "none":
            return network
        case "full":
            return _full(network, config)
        case "bottleneck":
            return _bottleneck(network, config)
        case "prefix" | "prompt":
            return _virtual_tokens(network, config)
        case _:
            return _linear_adapters(network, config, steps=steps)


def _full(network: Any, config: Config) -> Any:
    if config.first_layer == 0:
        network.requires_grad_(True)
        return network
    for layer in layers(network)[config.first_layer :]:
        layer.requires_grad_(True)
    return network


def _bottleneck(network: Any, config: Config) -> Any:
    width = int(network.config.hidden_size)
    for layer in layers(network)[config.first_layer :]:
        for name in ("self_attn", "mlp"):
            if not hasattr(layer, name):
                raise InputError(
                    f"bottleneck adapters need layers with self_attn and mlp; {type(layer).__name__} has none"
                )
            sublayer = getattr(layer, name)
            dtype = next(sublayer.parameters()).dtype
            setattr(layer, name, Bottleneck(sublayer, width=width, inner=config.rank, dtype=dtype))
    return network


def _virtual_tokens(network: Any, config: Config) -> Any:
    import peft

    if config.first_layer:
        raise InputError(
            f"model.first_layer is {config.first_layer}, but {config.method} works on every layer: wanted 0"
        )
    kind = peft.PrefixTuningConfig if config.method == "prefix" else peft.PromptTuningConfig
    return peft.get_peft_model(network, kind(task_type="CAUSAL_LM", num_virtual_tokens=config.rank))


def _linear_adapters(network: Any, config: Config, *, steps: int) -> Any:
    import peft

    depth = len(layers(network))
    _there(network, config)
    targets: str | list[str] = "all-linear" if config.targets == ("all-linear",) else list(config.targets)
    chosen = list(range(config.first_layer, depth)) if config.first_layer else None
    if config.method == "ia3":
        if chosen is not None:
            raise InputError("model.first_layer is not possible with ia3: wanted 0")
        if targets == "all-linear":
            return peft.get_peft_model(
                network,
                peft.IA3Config(
                    task_type="CAUSAL_LM",
                    target_modules=list(IA3_TARGETS),
                    feedforward_modules=["down_proj"],
                ),
            )
        inner = [name for name in targets if name in ("down_proj", "fc2", "wo")]
        return peft.get_peft_model(
            network, peft.IA3Config(task_type="CAUSAL_LM", target_modules=list(targets), feedforward_modules=inner)
        )
    if chosen is not None and targets == "all-linear":
        targets = _linear_names(network)
    shared: dict[str, Any] = {
        "task_type": "CAUSAL_LM",
        "target_modules": targets,
        "lora_alpha": config.alpha,
        "lora_dropout": config.dropout,
        "layers_to_transform": chosen,
    }
    if config.method == "adalora":
        if steps < 10:
            raise InputError(f"adalora needs a run of at least 10 steps to move rank about, training.steps is {steps}")
        first = config.rank + (config.rank + 1) // 2
        return peft.get_peft_model(
            network,
            peft.AdaLoraConfig(
                **shared,
                init_r=first,
                target_r=config.rank,
                total_step=steps,
                tinit=max(1, steps // 10),
                tfinal=max(1, steps // 3),
                deltaT=max(1, steps // 100),
            ),
        )
    return peft.get_peft_model(
        network,
        peft.LoraConfig(
            **shared, r=config.rank, use_rslora=config.method == "rslora", use_dora=config.method == "dora"
        ),
    )


def _there(network: Any, config: Config) -> None:
    """Raises InputError on a target that is no layer of the model: peft takes no notice of one among others."""
    usual = config.targets == ("all-linear",)
    wanted = (IA3_TARGETS if config.method == "ia3" else ()) if usual else config.targets
    have = [name for name, _ in network.named_modules()]
    for target in wanted:
        if not any(name == target or name.endswith(f".{target}") for name in have):
            which = "ia3 scales" if usual else "model.targets:"
            raise InputError(
                f"{which} {target!r}, which the model does not have: name in model.targets some of "
                f"{', '.join(_linear_names(network)) or 'its layers'}"
            )


def _linear_names(network: Any) -> list[str]:
    return sorted(
        {name.rpartition(".")[2] for name, module in layers(network).named_modules() if isinstance(module, nn.Linear)}
    )
