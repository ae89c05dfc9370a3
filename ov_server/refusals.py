"""Fields of a chat completion's body that would change the answer and can't be honoured. Pure."""

from typing import Any

from .errors import BadRequest

_NOT_YET = "is not supported by this server yet; leave it out"
_NEVER = "can't be honoured by OpenVINO GenAI; leave it out"
REFUSED: dict[str, tuple[tuple[Any, ...], str]] = {
    "top_logprobs": ((0,), "above 0 can't be honoured: the chosen token's are told alone"),
    "logit_bias": ((), _NEVER),
    "modalities": ((["text"],), _NOT_YET),
    "audio": ((), _NOT_YET),
    "web_search_options": ((), _NEVER),
    "chat_template": ((), _NEVER),
    "documents": ((), _NOT_YET),
    "truncate_prompt_tokens": ((), "is refused: a prompt is never cut; leave it out"),
    "n_predict": ((-1,), "is llama.cpp's name: leave it out and say max_tokens"),
    "include_stop_str_in_output": ((False,), _NEVER),
    "skip_special_tokens": ((True,), _NEVER),
    "prompt_logprobs": ((0,), _NEVER),
    "length_penalty": ((1, 1.0), _NEVER),
    "stop_token_ids": ((), _NEVER),
    "bad_words": ((), _NEVER),
    "allowed_token_ids": ((), _NEVER),
    "best_of": ((1,), _NEVER),
    "use_beam_search": ((False,), _NEVER),
    "echo": ((False,), _NEVER),
    "typical_p": ((1, 1.0), _NEVER),
    "mirostat": ((0,), _NEVER),
    "dry_multiplier": ((0, 0.0), _NEVER),
    "xtc_probability": ((0, 0.0), _NEVER),
    "samplers": ((), _NEVER),
    "dynatemp_range": ((0, 0.0), _NEVER),
    "tfs_z": ((1, 1.0), _NEVER),
    "top_a": ((0, 0.0), _NEVER),
    "n_probs": ((0,), _NEVER),
    "repeat_last_n": ((-1,), _NEVER + ": penalties look at the whole answer"),
    "num_beams": ((1,), _NEVER),
    "min_length": ((0,), "is another server's name: leave it out and say min_tokens"),
    "no_repeat_ngram_size": ((0,), _NEVER),
    "t_max_predict_ms": ((0, -1), _NEVER),
}
"""Fields that would change the answer and can't: the values that change nothing, and why."""


def refuse(said: dict[str, Any]) -> None:
    """Raises BadRequest for the first of the fields that asks for something."""
    for name, (harmless, why) in REFUSED.items():
        value = said.get(name)
        if value is None or value in ([], {}, "") or value in harmless:
            continue
        raise BadRequest(f"'{name}' {why}.", param=name, code="unsupported_parameter")
