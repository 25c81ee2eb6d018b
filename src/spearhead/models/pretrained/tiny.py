"""A tiny random model over bytes, on disk as a converted base would be: for trying things out in a second."""

import json
from pathlib import Path

MARKERS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")


def write(folder: Path, *, kind: str = "llama", layers: int = 2) -> Path:
    """A model of `kind` with `layers` layers, 64 wide, over 256 bytes and three markers."""
    import torch
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import AutoConfig, AutoModelForCausalLM

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate([*MARKERS, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(marker, special=True, normalized=False) for marker in MARKERS])
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = AutoConfig.for_model(
        kind,
        vocab_size=len(vocabulary),
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return folder


def speakable(folder: Path) -> Path:
    """Let llama.cpp serve what `write` wrote: it wants a tokenizer that merges something.

    The byte that no text has makes room for one merge.
    """
    file = folder / "tokenizer.json"
    words = json.loads(file.read_text(encoding="utf-8"))
    vocabulary = words["model"]["vocab"]
    vocabulary["th"] = vocabulary.pop("\u0143")
    words["model"]["merges"] = [["t", "h"]]
    file.write_text(json.dumps(words), encoding="utf-8")
    return folder
