"""A pretrained causal language model and the way it is tuned, as a `Model`: losses, scores and samples."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from spearhead.models.pretrained import packed, swift
from spearhead.models.pretrained.batch import Example, Sequences, pack
from spearhead.models.pretrained.config import Config
from spearhead.models.pretrained.methods import VIRTUAL_TOKENS
from spearhead.nn.model import Model

FREELB_STEPS = 2


@dataclass(frozen=True, slots=True)
class Perturbation:
    """What is added to the input embeddings while training."""

    noise: float = 0.0
    """NEFTune alpha (arXiv 2310.05914): uniform noise of size alpha / sqrt(tokens * width)."""
    adversarial: Literal["none", "freelb", "fgm"] = "none"
    size: float = 0.05
    """Length of the adversarial step as a share of the length of a sequence's embeddings."""


NONE = Perturbation()


class Tuned(Model):
    """A causal language model of transformers, tuned by one of `METHODS`; its batches are `Sequences`."""

    def __init__(self, network: Any, config: Config, *, perturbation: Perturbation = NONE, fast: bool = True) -> None:
        """`fast` lets it take the shortcut of `swift` where that gives the same numbers."""
        super().__init__()
        self.network = network
        self.config = config
        self.perturbation = perturbation
        self.fast = fast
        self._swift: swift.Swift | None = None
        self.updates = 0
        """Where AdaLoRA's schedule is, in optimiser steps of a run without a time budget."""
        inner = self.causal
        self.packs = config.method not in VIRTUAL_TOKENS and inner.config.model_type in packed.SUPPORTED
        if self.packs:
            packed.install()

    @property
    def causal(self) -> Any:
        """The transformers model inside, with its adapters in place."""
        return self.network.get_base_model() if hasattr(self.network, "get_base_model") else self.network

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return next(self.network.parameters()).device  # type: ignore[no-any-return]

    def matrices(self) -> Iterator[nn.Parameter]:
        """Of a model that is tuned whole all but its tables; adapters are too small to be made smaller."""
        if self.config.method == "full":
            tables = (self.causal.get_input_embeddings(), self.causal.get_output_embeddings())
            ends = {id(table.weight) for table in tables}
            yield from (p for p in self.parameters() if p.ndim == 2 and p.requires_grad and id(p) not in ends)

    # -- learning ----------------------------------------------------------------------------------------------------

    def losses(self, batch: Sequences) -> Iterator[tuple[str, Tensor]]:
        """One mean cross entropy (nats) over the label tokens, with whatever the method adds to it."""
        rows, targets, _ = self._labels(batch)
        embeddings = self._embed(batch)
        if self.training and self.perturbation.noise:
            embeddings = embeddings + self._noise(batch, embeddings)
        if self.training and self.perturbation.adversarial != "none":
            loss = self._adversarial_loss(batch, embeddings, rows, targets)
        else:
            loss = self._loss(batch, embeddings, rows, targets)
        if self.training and self.config.method == "adalora":
            loss = loss + self._orthogonality()
        yield "loss", loss
        if self.training and self.config.method == "adalora" and batch.closes:
            # The loop has stepped and the gradients are still there: rank is moved by their size.
            tuner = self.network.base_model
            self.updates = _moment(self.updates, self.progress, tuner.peft_config[tuner.trainable_adapter_name])
            tuner.update_and_allocate(self.updates)

    def likelihoods(self, batch: Sequences) -> tuple[Tensor, Tensor]:
        """Negative log likelihood (nats) of each label token, and which sequence it is of: (labels,) both."""
        rows, targets, owners = self._labels(batch)
        return self._row_losses(batch, self._embed(batch), rows, targets), owners

    @contextmanager
    def without_adapter(self) -> Iterator[None]:
        """The base model as it was before it was tuned, for a while."""
        fast, self.fast = self.fast, False  # the shortcut adds the adapter by itself
        try:
            with self.network.disable_adapter():
                yield
        finally:
            self.fast = fast

    def _labels(self, batch: Sequences) -> tuple[Tensor, Tensor, Tensor]:
        rows, targets, owners = packed.label_rows(batch)
        return rows.to(self.device), targets.to(self.device), owners.to(self.device)

    def _embed(self, batch: Sequences) -> Tensor:
        """(tokens,) ids -> (tokens, width)."""
        ids = torch.from_numpy(batch.ids).to(self.device)
        embedded: Tensor = self.causal.get_input_embeddings()(ids)
        return embedded

    def _noise(self, batch: Sequences, embeddings: Tensor) -> Tensor:
        lengths = torch.tensor(batch.lengths, dtype=embeddings.dtype, device=embeddings.device)
        size = self.perturbation.noise / torch.sqrt(lengths * embeddings.shape[1])
        each = torch.repeat_interleave(size, torch.tensor(batch.lengths, device=embeddings.device))
        return torch.empty_like(embeddings).uniform_(-1, 1) * each.unsqueeze(1)

    def _loss(self, batch: Sequences, embeddings: Tensor, rows: Tensor, targets: Tensor) -> Tensor:
        return self._row_losses(batch, embeddings, rows, targets).mean()

    def _row_losses(self, batch: Sequences, embeddings: Tensor, rows: Tensor, targets: Tensor) -> Tensor:
        """Negative log likelihood at each row: (rows,)."""
        short = self._shortcut(embeddings)
        if short is None and self.packs and not torch.is_grad_enabled():
            return self._row_losses_few_at_once(batch, embeddings, rows, targets)
        if short is None:
            return functional.cross_entropy(self._logits(batch, embeddings, rows).float(), targets, reduction="none")
        borders = packed.packing(batch.lengths, device=embeddings.device)
        return swift.cross_entropy(short.hidden(embeddings, borders)[rows], short.head, targets)

    def _row_losses_few_at_once(self, batch: Sequences, embeddings: Tensor, rows: Tensor, targets: Tensor) -> Tensor:
        """The same where no gradient is wanted: the logits of `CHUNK` rows exist at a time."""
        causal, borders = self.causal, packed.packing(batch.lengths, device=embeddings.device)
        with self._packed_attention():
            found = causal.model(
                inputs_embeds=embeddings.unsqueeze(0), position_ids=borders.positions, use_cache=False, packing=borders
            )
        scale = float(getattr(causal.config, "logits_scaling", 1.0))  # granite's
        hidden, losses = found.last_hidden_state[0][rows], []
        for start in range(0, len(rows), swift.CHUNK):
            logits = causal.lm_head(hidden[start : start + swift.CHUNK]).float() / scale
            losses.append(functional.cross_entropy(logits, targets[start : start + swift.CHUNK], reduction="none"))
        return torch.cat(losses)

    def _shortcut(self, embeddings: Tensor) -> swift.Swift | None:
        """The faster way to the same numbers, where there is one."""
        if not self.packs or not self.fast or torch.is_autocast_enabled(embeddings.device.type):
            return None
        if self._swift is None:
            if not swift.possible(self.causal):
                self.fast = False
                return None
            self._swift = swift.Swift(self.causal)
        return self._swift

    def _logits(self, batch: Sequences, embeddings: Tensor, rows: Tensor) -> Tensor:
        """(tokens, width) -> (rows, vocabulary), at the given rows alone."""
        borders = packed.packing(batch.lengths, device=embeddings.device)
        if self.packs:
            with self._packed_attention():
                out: Tensor = self.causal(
                    inputs_embeds=embeddings.unsqueeze(0),
                    position_ids=borders.positions,
                    use_cache=False,
                    logits_to_keep=rows,
                    packing=borders,
                ).logits
            return out[0]
        mask = borders.spread(torch.ones(len(batch.ids), dtype=torch.long, device=embeddings.device))
        block = self.network(inputs_embeds=borders.spread(embeddings), attention_mask=mask).logits
        return borders.gather(block[:, -borders.longest :])[rows]

    @contextmanager
    def _packed_attention(self) -> Iterator[None]:
        config = self.causal.config
        before = config._attn_implementation
        config._attn_implementation = packed.ATTENTION
        try:
            yield
        finally:
            config._attn_implementation = before

    def _adversarial_loss(self, batch: Sequences, embeddings: Tensor, rows: Tensor, targets: Tensor) -> Tensor:
        """FGM: the mean of the clean loss and the loss one gradient step away (arXiv 1605.07725, equation 5).

        FreeLB: the mean over ascent steps that begin at a random point (arXiv 1909.11764, algorithm 1).
        """
        owners = torch.repeat_interleave(
            torch.arange(batch.examples), torch.tensor(batch.lengths), output_size=len(batch.ids)
        ).to(embeddings.device)
        reach = self.perturbation.size * _lengths(embeddings.detach(), owners, batch.examples)  # (sequences,)
        if self.perturbation.adversarial == "fgm":
            delta = torch.zeros_like(embeddings)
            turns = 2
        else:
            delta = torch.empty_like(embeddings).uniform_(-1, 1)
            delta = delta * (reach / _lengths(delta, owners, batch.examples))[owners].unsqueeze(1) * 0.5
            turns = FREELB_STEPS
        total = embeddings.new_zeros(())
        for turn in range(turns):
            delta = delta.detach().requires_grad_(True)
            loss = self._loss(batch, embeddings + delta, rows, targets)
            total = total + loss / turns
            if turn + 1 < turns:
                (slope,) = torch.autograd.grad(loss, delta, retain_graph=True)
                step = (reach / _lengths(slope, owners, batch.examples).clamp_min(1e-20))[owners].unsqueeze(1)
                delta = delta.detach() + slope * step
                over = (reach / _lengths(delta, owners, batch.examples).clamp_min(1e-20)).clamp(max=1.0)
                delta = delta * over[owners].unsqueeze(1)
        return total

    def _orthogonality(self) -> Tensor:
        """How far AdaLoRA's factors are from orthogonal (arXiv 2303.10512, equation 4), with peft's weight."""
        tuner = self.network.peft_config["default"]
        parts = []
        for name, factor in self.network.named_parameters():
            if "lora_A" in name or "lora_B" in name:
                square = factor @ factor.T if "lora_A" in name else factor.T @ factor
                parts.append(torch.linalg.norm(square - torch.eye(len(square), device=square.device)))
        return float(tuner.orth_reg_weight) * torch.stack(parts).mean()

    # -- a restart ---------------------------------------------------------------------------------------------------

    def memory(self) -> dict[str, Tensor]:
        """AdaLoRA's sensitivities, rank pattern and clock; nothing for the other methods."""
        if self.config.method != "adalora":
            return {}
        allocator = self.network.base_model.rankallocator
        kept = {"updates": torch.tensor(self.updates)}
        for kind in ("ipt", "exp_avg_ipt", "exp_avg_unc"):
            kept |= {f"{kind}/{name}": value.clone() for name, value in getattr(allocator, kind).items()}
        pattern = self.network.peft_config["default"].rank_pattern or {}
        return kept | {f"pattern/{name}": torch.tensor(row) for name, row in pattern.items()}

    def remember(self, memory: Mapping[str, Tensor]) -> None:
        """Take back what `memory` gave."""
        if self.config.method != "adalora":
            super().remember(memory)
            return
        self.updates = int(memory["updates"])
        allocator = self.network.base_model.rankallocator
        for kind in ("ipt", "exp_avg_ipt", "exp_avg_unc"):
            setattr(allocator, kind, {n.split("/", 1)[1]: v for n, v in memory.items() if n.startswith(f"{kind}/")})
        pattern = {n.split("/", 1)[1]: v.tolist() for n, v in memory.items() if n.startswith("pattern/")}
        self.network.peft_config["default"].rank_pattern = pattern or None

    # -- judging -----------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def score(self, examples: Sequence[Example], *, micro_tokens: int = 2048) -> Iterator[tuple[int, float, int]]:
        """Yield (index, summed negative log likelihood in nats, tokens counted) for every example, in any order."""
        was = self.training
        self.eval()
        try:
            for part in _parts(examples, micro_tokens):
                batch = pack([examples[i] for i in part])
                rows, targets, owners = self._labels(batch)
                nll = self._row_losses(batch, self._embed(batch), rows, targets).double()
                sums = torch.zeros(len(part), dtype=torch.float64, device=nll.device).index_add(0, owners, nll)
                for i, total in zip(part, sums.tolist(), strict=True):
                    yield i, total, examples[i].weight
        finally:
            self.train(was)

    @torch.no_grad()
    def complete(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        stop: int,
        longest: int,
        options: Mapping[str, Any] | None = None,
        together: int = 16,
    ) -> Iterator[tuple[int, list[int]]]:
        """Yield (index, answer ids without the stop id) for every prompt; shortest prompts first, `together` at once.

        `options` may hold temperature, top_p, top_k, min_p; none of them, or temperature 0: greedy. Sampling draws
        from torch's generator.
        """
        was = self.training
        self.eval()
        try:
            order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
            for start in range(0, len(order), together):
                part = order[start : start + together]
                width = max(len(prompts[i]) for i in part)
                ids = torch.full((len(part), width), stop)
                mask = torch.zeros((len(part), width), dtype=torch.long)
                for row, i in enumerate(part):
                    ids[row, width - len(prompts[i]) :] = torch.tensor(list(prompts[i]))
                    mask[row, width - len(prompts[i]) :] = 1
                out = self.network.generate(
                    input_ids=ids.to(self.device),
                    attention_mask=mask.to(self.device),
                    max_new_tokens=longest,
                    eos_token_id=stop,
                    pad_token_id=stop,
                    **_sampling(options or {}),
                )
                for i, answer in zip(part, out[:, width:].tolist(), strict=True):
                    yield i, answer[: answer.index(stop)] if stop in answer else answer
        finally:
            self.train(was)

    def sample(
        self, prompt: Sequence[int], count: int, *, rng: torch.Generator, options: Mapping[str, Any]
    ) -> Iterator[Tensor]:
        """Yield `count` answers to the ids of `prompt`, each (tokens,); `options` needs `stop` and `longest`."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(rng.initial_seed())
            stop, longest = int(options["stop"]), int(options["longest"])
            answers = self.complete([prompt] * count, stop=stop, longest=longest, options=options)
            for _, answer in sorted(answers):
                yield torch.tensor(answer)


def _sampling(options: Mapping[str, Any]) -> dict[str, Any]:
    temperature = float(options.get("temperature", 0.0))
    if temperature <= 0:
        return {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
    return {
        "do_sample": True,
        "temperature": temperature,
        "top_p": float(options.get("top_p", 1.0)),
        "top_k": int(options.get("top_k", 0)),
        "min_p": float(options.get("min_p", 0.0)) or None,
    }


def _moment(before: int, progress: float, schedule: Any) -> int:
    """The next step of peft's schedule at this share of the run.

    Where a time budget makes one step cover several of the schedule's, those that peft acts at are not leapt over:
    the one at which it settles the ranks, and the multiples of `deltaT` at which it takes some.
    """
    now = max(before + 1, math.ceil(progress * schedule.total_step))
    settled = schedule.total_step - schedule.tfinal
    if before < settled <= now:
        return int(settled)
    acted = now - now % schedule.deltaT
    return int(acted) if acted > before else now


def _lengths(x: Tensor, owners: Tensor, count: int) -> Tensor:
    """Euclidean length of each sequence's rows of `x` (tokens, width) -> (sequences,)."""
    return x.new_zeros(count).index_add(0, owners, x.square().sum(1)).sqrt()


def _parts(examples: Sequence[Example], micro_tokens: int) -> Iterator[list[int]]:
    """Indices in parts of at most `micro_tokens` tokens (one example at least), by length."""
    part: list[int] = []
    held = 0
    for i in sorted(range(len(examples)), key=lambda i: examples[i].units):
        if part and held + examples[i].units > micro_tokens:
            yield part
            part, held = [], 0
        part.append(i)
        held += examples[i].units
    if part:
        yield part
