"""How well a tokenizer keeps pictures, and how many of its codes it uses."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch

from spearhead.core.errors import InputError
from spearhead.models.pictures import Pictures
from spearhead.models.tokenizer.network import Tokenizer


@dataclass(frozen=True, slots=True)
class Quality:
    """Measured over pictures that were encoded and decoded."""

    error: float
    """Mean squared error of a pixel value, on the scale of 0 to 255."""
    psnr: float
    """Peak signal-to-noise ratio in decibels, from `error`."""
    vocab: int
    used: int
    """Codes that occur at least once."""
    perplexity: float
    """exp of the entropy of the codes: as many, all equally frequent, would be as hard to guess."""


@torch.no_grad()
def measure(model: Tokenizer, batches: Iterable[Pictures]) -> Quality:
    """Encode and decode all pictures, as 8-bit files would hold them."""
    was = model.training
    model.eval()
    squares = values = 0.0
    counts = torch.zeros(model.vocab, dtype=torch.float64)
    try:
        for batch in batches:
            codes = model.encode(batch.pixels)
            kept = model.decode(codes).add(1).mul(127.5).round().double()
            squares += float((kept - batch.pixels.double().add(1).mul(127.5)).square().sum())
            values += batch.pixels.numel()
            counts += torch.bincount(codes.flatten().cpu(), minlength=model.vocab)
    finally:
        model.train(was)
    if not values:
        raise InputError("there is no picture to measure the tokenizer on")
    error = squares / values
    shares = counts[counts > 0] / counts.sum()
    entropy = float(-(shares * shares.log()).sum())
    psnr = 10 * math.log10(255**2 / error) if error else math.inf
    return Quality(error, psnr, model.vocab, int((counts > 0).sum()), math.exp(entropy))
