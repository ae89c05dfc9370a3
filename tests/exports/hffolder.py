"""A GGUF file as the Hugging Face folder that it may have come from: what a download looks like.

Run with .venv-convert's Python: `hffolder.py FILE FOLDER`. Knows files of the Llama architecture
whose tokenizer is GPT-2's with single digits (`smollm`). transformers reads the weights; the
tokenizer that it would make has other ids and another end, so it is made here.
"""

import shutil
import sys
from pathlib import Path
from typing import Any

import torch
from gguf import GGUFReader
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

CONTROL = 3
"""A token that is no text, in `tokenizer.ggml.token_type`."""


class Fields:
    """What the file says of itself, by key."""

    def __init__(self, path: Path):
        self._reader = GGUFReader(path)

    def __getitem__(self, key: str) -> Any:
        return self._reader.fields[f"tokenizer.{key}"].contents()

    def token(self, role: str) -> str:
        return self["ggml.tokens"][self[f"ggml.{role}_token_id"]]


def tokenizer(fields: Fields) -> PreTrainedTokenizerFast:
    """GPT-2's byte-level BPE with every digit apart, which GGUF files call `smollm`. Raises
    ValueError when the file's is another one."""
    if (kind := fields["ggml.pre"]) != "smollm":
        raise ValueError(f"a tokenizer of the kind {kind!r}, not 'smollm'")
    tokens = fields["ggml.tokens"]
    merges = [tuple(merge.split(" ")) for merge in fields["ggml.merges"]]
    made = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(tokens)}, merges=merges))
    digits = pre_tokenizers.Digits(individual_digits=True)
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [digits, pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    made.decoder = decoders.ByteLevel()
    kinds = fields["ggml.token_type"]
    made.add_special_tokens([t for t, kind in zip(tokens, kinds, strict=True) if kind == CONTROL])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=made,
        bos_token=fields.token("bos"),
        eos_token=fields.token("eos"),
        unk_token=fields.token("unknown"),
        pad_token=fields.token("padding"),
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = fields["chat_template"]
    if len(fast) != len(tokens):
        raise ValueError(f"{len(fast)} tokens where the file has {len(tokens)}")
    return fast


def write(file: Path, folder: Path) -> None:
    """Under its name only when it is whole."""
    made = tokenizer(Fields(file))
    model = AutoModelForCausalLM.from_pretrained(
        file.parent, gguf_file=file.name, dtype=torch.float16
    )
    for config in (model.config, model.generation_config):
        config.bos_token_id = made.bos_token_id
        config.eos_token_id = made.eos_token_id
        config.pad_token_id = made.pad_token_id
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    model.save_pretrained(part)
    made.save_pretrained(part)
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)


if __name__ == "__main__":
    write(Path(sys.argv[1]), Path(sys.argv[2]))
