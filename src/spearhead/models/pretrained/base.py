"""A base model, from a GGUF file or a Hugging Face folder, as one folder of safetensors, config and tokenizer.

Converted once and kept by the hash of what it was made from. Never reads a pickle, never asks a model hub.
"""

import json
import shutil
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import Any

from spearhead.core import digest
from spearhead.core.errors import InputError
from spearhead.core.files import whole_folder
from spearhead.core.generation import Progress
from spearhead.nn import gguf_file, gguf_names
from spearhead.nn.disk import trouble_told
from spearhead.nn.gguf_header import Gguf, read_header
from spearhead.store.home import Home

FORMAT = 1
"""Part of the cache's name; raised whenever the conversion changes, so that no stale folder is taken."""

# How llama.cpp splits text before merging, by the name in `tokenizer.ggml.pre`; other names go through transformers.
_DIGITS = "smollm"
_KNOWN_SPLITS = ("gpt-2", _DIGITS)
_CONTROL, _USER_DEFINED = 3, 4


def convert(path: Path, *, home: Home) -> Generator[Progress, None, Path]:
    """A folder with `model.safetensors` (float32), `config.json` and `tokenizer.json` for `path`.

    `path` is a GGUF file (its folder is kept under `home.models`) or a model folder that has these files already.
    Raises InputError on anything else, a truncated file included.
    """
    if path.is_dir():
        return _checked_folder(path)
    if not path.is_file():
        raise InputError(f"base model {path} does not exist: wanted a GGUF file or a model folder")
    with path.open("rb") as stream:
        if stream.read(4) != b"GGUF":
            raise InputError(f"base model {path} is no GGUF file: wanted one, or a folder with safetensors")
    yield Progress("base model", 0, 1, "reading its hash")
    folder = home.models / f"{digest.of_file(path)}-{FORMAT}"
    if not folder.is_dir():
        with whole_folder(folder, stays=Path.is_dir) as draft, trouble_told(folder):
            yield from _convert_gguf(path, draft)
    return folder


def _checked_folder(path: Path) -> Path:
    for name in ("config.json", "tokenizer.json"):
        if not (path / name).is_file():
            raise InputError(
                f"base model folder {path} has no {name}: wanted config.json, tokenizer.json, *.safetensors"
            )
    if not any(path.glob("*.safetensors")):
        pickles = [file.name for file in (*path.glob("*.bin"), *path.glob("*.pt"), *path.glob("*.pth"))]
        why = f"only {pickles[0]}, a pickle, which is never read" if pickles else "no weights"
        raise InputError(f"base model folder {path} has {why}: save it as safetensors first")
    return path


def _convert_gguf(path: Path, draft: Path) -> Iterator[Progress]:
    file = read_header(path)
    try:
        yield from _convert_whole(file, draft)
    except (InputError, OSError):
        raise
    except Exception as error:  # a missing field, a merge of unknown tokens: the libraries raise what they like
        raise InputError(f"base model {path} cannot be converted ({type(error).__name__}: {error})") from error


def _convert_whole(file: Gguf, draft: Path) -> Iterator[Progress]:
    fields = file.metadata
    try:
        config = gguf_file.read_config(file)
    except InputError:
        yield from _convert_by_transformers(file.path, draft)
    else:
        yield from _convert_known(file, config, draft)
    if fields.get("tokenizer.ggml.model") == "gpt2" and fields.get("tokenizer.ggml.pre") in _KNOWN_SPLITS:
        _write_tokenizer(fields, draft)
    elif not (draft / "tokenizer.json").exists():
        yield Progress("base model", 1, 1, "tokenizer")
        _tokenizer_by_transformers(file.path, draft)


def _convert_known(file: Gguf, config: Mapping[str, Any], draft: Path) -> Iterator[Progress]:
    """An architecture that `gguf_file` reads by itself."""
    from safetensors.numpy import save_file
    from transformers import AutoConfig

    state = yield from gguf_file.read_state(file)
    theta, scaling = gguf_names.rope(config)
    said = {name: value for name, value in config.items() if name not in ("rope_theta", "rope_scaling")}
    written = AutoConfig.for_model(
        **said | {"head_dim": gguf_names.heads(config)[2]},
        rope_parameters={"rope_type": "default", **scaling, "rope_theta": theta},
        architectures=[f"{config['model_type'].capitalize()}ForCausalLM"],
        dtype="float32",
    )
    written.save_pretrained(draft)
    save_file(state, draft / "model.safetensors", metadata={"format": "pt"})


def _write_tokenizer(fields: Mapping[str, Any], draft: Path) -> None:
    """A byte-level BPE `tokenizer.json` with exactly the splits that llama.cpp makes for the same file."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    tokens, kinds = list(fields["tokenizer.ggml.tokens"]), list(fields["tokenizer.ggml.token_type"])
    vocabulary = {token: number for number, token in enumerate(tokens)}
    merges = [tuple(merge.split(" ", 1)) for merge in fields["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    split: Any = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    if fields["tokenizer.ggml.pre"] == _DIGITS:
        split = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), split])
    tokenizer.pre_tokenizer = split
    tokenizer.decoder = decoders.ByteLevel()
    for number, kind in enumerate(kinds):
        if kind in (_CONTROL, _USER_DEFINED):
            control = kind == _CONTROL
            added = AddedToken(tokens[number], special=control, normalized=False)
            (tokenizer.add_special_tokens if control else tokenizer.add_tokens)([added])
    tokenizer.save(str(draft / "tokenizer.json"))
    named = {"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "pad_token": "padding"}
    settings: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
    for name, key in named.items():
        at = fields.get(f"tokenizer.ggml.{key}_token_id")
        if at is not None:
            settings[name] = tokens[int(at)]
    if template := fields.get("tokenizer.chat_template"):
        settings["chat_template"] = template
    (draft / "tokenizer_config.json").write_text(json.dumps(settings, indent=2, ensure_ascii=False), encoding="utf-8")


def _convert_by_transformers(path: Path, draft: Path) -> Iterator[Progress]:
    """Any other architecture that transformers can read out of a GGUF; slower by some tens of seconds."""
    import torch
    from transformers import AutoModelForCausalLM

    yield Progress("base model", 0, 1, "converting through transformers")
    try:
        model = AutoModelForCausalLM.from_pretrained(
            str(path.parent), gguf_file=path.name, dtype=torch.float32, local_files_only=True
        )
    except Exception as error:  # anything from a missing key to an unknown architecture
        raise InputError(f"base model {path} cannot be read: {error}") from error
    model.save_pretrained(draft)


def _tokenizer_by_transformers(path: Path, draft: Path) -> None:
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(str(path.parent), gguf_file=path.name, local_files_only=True)
    except Exception as error:
        raise InputError(f"the tokenizer inside {path} cannot be read: {error}") from error
    tokenizer.save_pretrained(draft)
    if not (draft / "tokenizer.json").exists():
        raise InputError(f"the tokenizer inside {path} has no fast form: give a folder with a tokenizer.json")


def copy_words(folder: Path, target: Path) -> None:
    """Copy the tokenizer's files of a converted base beside exported weights."""
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json", "chat_template.jinja"):
        if (folder / name).is_file():
            shutil.copyfile(folder / name, target / name)
