"""What a request is told when the engine's thread ends its answer early."""

from .arguments import Malformed
from .errors import EngineFailed, Unavailable


def guilty(failure: str) -> EngineFailed:
    return EngineFailed(
        f"The engine failed on this request: {failure}. Other requests go on. "
        "Change the request before you send it again."
    )


def interrupted() -> EngineFailed:
    return EngineFailed(
        "The engine had to be restarted in the middle of this structured answer, and it can't go "
        "on from there. Send the request again."
    )


def unreadable(error: Malformed) -> EngineFailed:
    return EngineFailed(
        f"The model's call can't be read: {error}. Send the request again; if that does not help, "
        "set the model's tool_format in the registry."
    )


def stopping() -> Unavailable:
    return Unavailable("The model is being unloaded. Send the request again.")


def too_large() -> EngineFailed:
    return EngineFailed(
        "The prompt does not fit the KV cache. Shorten it, or raise OV_KV_CACHE_GB on the server."
    )
