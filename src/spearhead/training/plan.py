"""How long, how fast and in what order to train: one frozen value. Knows no model and no torch."""

from dataclasses import dataclass
from typing import Literal

from spearhead.core.bounds import Count, NotNegative, Part, Positive, Share, Whole

NOT_THE_RESULT = ("save_every", "track", "micro_batch", "micro_tokens", "device", "precision")
"""Fields of a plan that may differ when a run goes on (the precision first chosen is kept), and that ask for no new
run once it has ended."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The `[training]` table of a scenario."""

    steps: Count = 1000
    """Optimiser steps at most."""
    minutes: NotNegative = 0.0
    """Time budget of training proper; 0: none. The schedule follows whichever ends first."""
    batch: Count = 16
    """Examples an optimiser step."""
    micro_batch: Whole = 0
    """Examples a forward pass; 0: as many as `micro_tokens` allows. Gradients are the large batch's to 1e-5."""
    micro_tokens: Count = 4096
    """Tokens a forward pass; fewer take less memory and change no result."""
    optimiser: Literal["adamw", "muon", "sgd"] = "adamw"
    """`muon` moves matrices; embeddings, heads and vectors stay with AdamW."""
    learning_rate: Positive = 1e-3
    """Greatest rate of the run."""
    muon_rate: Positive = 0.02
    """Learning rate of what Muon moves; `learning_rate` is for the rest then."""
    betas: tuple[Part, Part] = (0.9, 0.99)
    """AdamW's two decays."""
    weight_decay: NotNegative = 0.0
    """Share of a weight that a step of rate 1 would take away."""
    clip: NotNegative = 1.0
    """Greatest length of the gradient; 0: any."""
    average: Part = 0.0
    """Decay of the moving average of the weights, 0: none. The average is what is validated, kept and released;
    training goes on with the weights themselves."""
    prune: Part = 0.0
    """Share of the weights (or units) that is zero in the end; it grows from a fifth of the run to three fifths."""
    prune_what: Literal["weights", "units"] = "weights"
    """`units` leaves hidden units of the gated layers out whole: the released file is smaller and faster by them."""
    schedule: Literal["constant", "step", "cosine", "wsd"] = "wsd"
    """How the rate goes after the warm-up: `wsd` stays and falls at the end."""
    warmup: Share = 0.05
    """Share of the run."""
    decay: Share = 0.4
    """Share of the run over which `wsd` falls to zero; `step` divides by ten after each such share."""
    packing: bool = True
    """Whole batches as one sequence without padding; else sorted by length into buckets."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Of products of matrices. `auto`: bf16 where the hardware has units for it, else fp32; `fp16` scales the loss, for
    older cards."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda` or `mps`."""
    validate_every: Whole = 50
    """Steps between two looks at the held-out loss; 0: only at the end, so nothing can be stopped by `patience`."""
    patience: Whole = 0
    """Stop after so many validations without a better loss; 0: never. The best weights are kept either way."""
    explosion: NotNegative = 10.0
    """Stop when the loss has lain, for 25 steps in a row, this many times its first value (or its lowest level, where
    that is further from zero) above its lowest level; 0: never. The best weights are kept."""
    save_every: Whole = 100
    """Steps between two checkpoints, or a minute where so many take longer; 0: only when the run ends or is
    interrupted."""
    seed: Whole = 0
    """Of first weights, order and noise: the same seed, the same bytes."""
    embedding_noise: NotNegative = 0.0
    """NEFTune alpha (arXiv 2310.05914); 0: off."""
    adversarial: Literal["none", "freelb", "fgm"] = "none"
    """Perturbation of input embeddings: FreeLB (arXiv 1909.11764) or one-step FGM (arXiv 1605.07725)."""
    adversarial_size: Positive = 0.05
    """Length of that perturbation, as a share of the length of a sequence's embeddings."""
    augment: dict[str, float] | None = None
    """Ways to change a training input by name to their probability, drawn anew each time it is seen. Texts, in pairs
    alone: typos, drop_words, swap_words, lower_case. Pictures: flip, shift, crop, noise, light."""
    objective: Literal["likelihood", "dpo"] = "likelihood"
    """`dpo` learns from pairs of a chosen (`output`) and a `rejected` answer (arXiv 2305.18290, equation 7)."""
    beta: float = 0.1
    """dpo: how dearly the model pays for leaving the one it began as; above 0."""
    label_smoothing: float = 0.0
    """dpo: share of pairs taken to be labelled the wrong way round, below 0.5."""
    sft: float = 0.0
    """dpo: weight of the chosen answers' own mean negative log-likelihood (nats a token) beside it."""
    track: tuple[Literal["tensorboard", "wandb"], ...] = ("tensorboard",)

    """Where curves are written as it goes."""
