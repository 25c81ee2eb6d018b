"""Direct preference optimisation: a tuned model learns which of two answers is preferred. Knows no loop and no files.

Rafailov et al. 2023 (arXiv 2305.18290), equation 7. The reference is the same network with its adapter switched off:
its log-probabilities are computed when a pair is first seen, in the very batch and precision that the pair is learnt
in, and kept for the rest of the run and over restarts.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from spearhead.core.errors import InputError, SpearheadError
from spearhead.core.family import Preference
from spearhead.core.template import Given, Template
from spearhead.media.text.tokens import Tokenizer
from spearhead.models.pretrained import batch as batches
from spearhead.models.pretrained.batch import Example, Sequences
from spearhead.models.pretrained.network import Tuned
from spearhead.nn.model import Model

STILL = 1e-3
"""Nats below which a margin has not moved."""
NOISE = 4.0
"""How often the margin of the first step, which is rounding and dropout alone, must be exceeded."""


class Unmoved(SpearheadError):
    """Chosen and rejected answers stay as likely as they were: the run would end well and have learnt nothing."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two answers to one prompt; `number` is its row among the reference's log-probabilities."""

    chosen: Example
    rejected: Example
    number: int

    @property
    def units(self) -> int:
        """Tokens of both sequences."""
        return self.chosen.units + self.rejected.units


@dataclass(frozen=True, slots=True)
class Pairs:
    """A micro-batch: the sequences of its pairs, chosen and rejected by turns."""

    sequences: Sequences
    numbers: tuple[int, ...]

    @property
    def weight(self) -> int:
        """Pairs: a mean loss over this batch counts so much."""
        return len(self.numbers)

    @property
    def examples(self) -> int:
        """How many pairs there are."""
        return len(self.numbers)

    @property
    def units(self) -> int:
        """Tokens, all of them."""
        return self.sequences.units


@dataclass(frozen=True, slots=True)
class Encoded:
    """Pairs, and how many were no use: too long, or the same to the model."""

    pairs: list[Pair]
    too_long: int
    alike: int


def encode(
    triples: Iterable[tuple[Given, str, str]], *, tokenizer: Tokenizer, template: Template, longest: int, first: int = 0
) -> Encoded:
    """Pairs of (input, chosen, rejected), numbered from `first`."""
    pairs: list[Pair] = []
    too_long = alike = 0
    for given, chosen, rejected in triples:
        both, left_out = batches.encode(
            [(given, chosen), (given, rejected)], tokenizer=tokenizer, template=template, longest=longest
        )
        if left_out:
            too_long += 1
        elif both[0].ids == both[1].ids:
            alike += 1
        else:
            pairs.append(Pair(both[0], both[1], first + len(pairs)))
    return Encoded(pairs, too_long, alike)


def pack(examples: Sequence[Pair], *, closes: bool = True) -> Pairs:
    """One micro-batch of the pairs, in their order."""
    sequences = [answer for pair in examples for answer in (pair.chosen, pair.rejected)]
    return Pairs(batches.pack(sequences, closes=closes), tuple(pair.number for pair in examples))


def dpo(margins: Tensor, *, beta: float, smoothing: float = 0.0) -> Tensor:
    """The loss of each pair: `margins` (pairs,) are log-ratios of the chosen less those of the rejected, in nats.

    `smoothing` is the share of pairs taken to be labelled the wrong way round (Mitchell 2023, "A note on DPO with
    noisy preferences", equation 3).

    >>> [round(float(x), 4) for x in dpo(torch.tensor([0.0, 2.0, -2.0]), beta=0.5)]
    [0.6931, 0.3133, 1.3133]
    """
    right, wrong = functional.logsigmoid(beta * margins), functional.logsigmoid(-beta * margins)
    return -(1 - smoothing) * right - smoothing * wrong


class Preferring(Model):
    """A tuned model that learns from `Pairs`.

    Raises Unmoved after `patience` steps in which no pair's margin left zero: the fault that this method is best
    known for is a run that looks well and does nothing.
    """

    def __init__(self, policy: Tuned, preference: Preference, *, pairs: int, steps: int) -> None:
        super().__init__()
        if preference.beta <= 0:
            raise InputError(f"training.beta is {preference.beta:g}: wanted above 0, with 0 no pair pulls at anything")
        if not hasattr(policy.network, "disable_adapter"):
            method = policy.config.method
            raise InputError(f"objective dpo needs an adapter that can be switched off, method {method!r} has none")
        self.policy = policy
        self.preference = preference
        self.patience = min(100, max(5, steps // 5))
        self.reference = torch.full((pairs, 2), torch.nan, dtype=torch.float64)
        """Log-probabilities of chosen and rejected by pair number; not a number until they are seen."""
        self.steps = 0
        self.noise = 0.0
        self.margin = 0.0
        """The largest margin of the last step, in nats."""
        self.alive = False
        self._before: list[Tensor] | None = None
        self._step: list[Tensor] = []
        self._held: list[Tensor] = []
        self._figures: dict[str, float] = {}

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return self.policy.device

    def losses(self, batch: Pairs) -> Iterator[tuple[str, Tensor]]:
        """One mean loss over the pairs (nats); after the step that it closes, see that something moved."""
        reference = self._reference(batch)
        nll, weights = self._likelihoods(batch)  # both (pairs, 2)
        ratios = -nll - reference.to(nll.dtype).to(nll.device)
        margins = ratios[:, 0] - ratios[:, 1]
        loss = dpo(margins, beta=self.preference.beta, smoothing=self.preference.smoothing).mean()
        if self.preference.sft:
            loss = loss + self.preference.sft * (nll[:, 0] / weights[:, 0]).mean()
        if not self.training:
            self._held.append(ratios.detach())
        if self.training and not loss.requires_grad:
            raise Unmoved(self._seen())
        if self.training and self._before is None and not self.alive:
            self._before = [parameter.detach().clone() for parameter in self._learning()]
        yield "loss", loss.float()
        # The loop has stepped, and the gradients are still there.
        self._step.append(ratios.detach())
        if batch.sequences.closes:
            self._close()

    def figures(self) -> dict[str, float]:
        """Of the last step: rewards (beta times log-ratio) and how often the chosen answer's is the larger one.

        After a validation the same of the held-out pairs. Of this process alone.
        """
        found = dict(self._figures)
        if self._held:
            found |= {f"validation_{name}": value for name, value in self._told(self._held).items()}
            self._held = []
        return found

    @torch.no_grad()
    def judged(self, pairs: Sequence[Pair], *, together: int = 4) -> dict[str, float]:
        """The figures of these pairs with the weights as they are."""
        was = self.training
        self.eval()
        for start in range(0, len(pairs), together):
            next(self.losses(pack(pairs[start : start + together])))
        self.train(was)
        told, self._held = self._told(self._held), []
        return told

    def insist(self) -> None:
        """Raise Unmoved unless some pair's margin has left zero."""
        if not self.alive:
            raise Unmoved(self._seen())

    def memory(self) -> dict[str, Tensor]:
        """The reference's log-probabilities and whether anything moved; what the policy itself remembers."""
        return {
            "reference": self.reference.clone(),
            "watch": torch.tensor([float(self.steps), self.noise, float(self.alive)], dtype=torch.float64),
            **{f"policy/{name}": value for name, value in self.policy.memory().items()},
        }

    def remember(self, memory: Mapping[str, Tensor]) -> None:
        """Take back what `memory` gave."""
        if memory["reference"].shape != self.reference.shape:
            raise ValueError(f"{len(memory['reference'])} pairs were remembered, there are {len(self.reference)}")
        self.reference = memory["reference"].clone()
        steps, noise, alive = memory["watch"].tolist()
        self.steps, self.noise, self.alive = int(steps), noise, bool(alive)
        inner = {name.removeprefix("policy/"): v for name, v in memory.items() if name.startswith("policy/")}
        self.policy.remember(inner)

    def _likelihoods(self, batch: Pairs) -> tuple[Tensor, Tensor]:
        """Negative log-likelihood of each answer in nats, and its label tokens: (pairs, 2) both, chosen first."""
        nll, owners = self.policy.likelihoods(batch.sequences)
        wide = torch.float32 if nll.device.type == "mps" else torch.float64  # sums of hundreds of tokens
        zeros = torch.zeros(2 * batch.examples, dtype=wide, device=nll.device)
        sums, weights = (zeros.index_add(0, owners, x.to(wide)) for x in (nll, torch.ones_like(nll)))
        return sums.view(-1, 2), weights.view(-1, 2)

    @torch.no_grad()
    def _reference(self, batch: Pairs) -> Tensor:
        """(pairs, 2) log-probabilities of the network without its adapter."""
        numbers = torch.tensor(batch.numbers)
        known = self.reference[numbers]
        if known.isnan().any():
            was = self.training
            self.policy.eval()
            with self.policy.without_adapter():
                nll, _ = self._likelihoods(batch)
            self.policy.train(was)
            known = torch.where(known.isnan(), -nll.cpu().double(), known)  # what was computed once stays as it is
            self.reference[numbers] = known
        return known

    # -- that something moves ----------------------------------------------------------------------------------------

    def _close(self) -> None:
        """Figures of the step, and a look at whether it had any effect."""
        self._figures = self._told(self._step)
        ratios = torch.cat(self._step)
        self._step = []
        self.margin = float((ratios[:, 0] - ratios[:, 1]).abs().max())
        self.steps += 1
        if self.steps == 1:
            self.noise = self.margin
        self.alive = self.alive or self.margin > max(STILL, NOISE * self.noise)
        if self.alive:
            self._before = None
        elif self.steps >= self.patience:
            raise Unmoved(self._seen())

    def _told(self, ratios: Sequence[Tensor]) -> dict[str, float]:
        rewards = self.preference.beta * torch.cat(list(ratios))  # (pairs, 2)
        chosen, rejected = rewards.mean(0).tolist()
        margins = rewards[:, 0] - rewards[:, 1]
        accuracy = float(((margins > 0).double() + 0.5 * (margins == 0).double()).mean())
        return {"margin": chosen - rejected, "accuracy": accuracy, "chosen": chosen, "rejected": rejected}

    def _learning(self) -> list[Tensor]:
        return [parameter for parameter in self.parameters() if parameter.requires_grad]

    def _seen(self) -> str:
        """What a person needs to find out why nothing moves."""
        learning = self._learning()
        slopes = [float(p.grad.abs().max()) for p in learning if p.grad is not None]
        slope = max(slopes, default=0.0)
        before = self._before or [p.detach() for p in learning]
        shift = max((float((p.detach() - b).abs().max()) for p, b in zip(learning, before, strict=True)), default=0.0)
        if not learning:
            why = "no parameter learns: no adapter is attached, or it is switched off"
        elif shift == 0.0 and slope == 0.0:
            why = "no gradient reaches the adapter: it takes no part in the answers' likelihoods, or beta is too small"
        elif shift == 0.0:
            why = "there are gradients and the weights stay: raise training.learning_rate"
        elif slope == 0.0:
            why = "the weights move without a gradient: the adapter takes no part in the answers' likelihoods"
        else:
            why = (
                "the weights move and the margin does not: either too little (raise training.learning_rate), or the "
                "reference moves along with them (its adapter is not switched off)"
            )
        return (
            f"after {self.steps} steps the margin between chosen and rejected answers is still zero "
            f"(at most {self.margin:.1e} nats): nothing is learnt. {why}. Seen: {len(learning)} tensors learn, "
            f"{len(slopes)} have a gradient (largest {slope:.1e}), they moved by at most {shift:.1e}; "
            f"beta {self.preference.beta:g}"
        )
