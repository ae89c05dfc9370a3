"""The generation parameters as they come over the wire or stand in a registry entry's defaults.

Owns their names, synonyms and bounds.
"""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from .core import Sampling

Bias = Annotated[float, Field(ge=-2, le=2)]


class Parameters(BaseModel):
    """Every parameter may be null or missing; then the next source decides."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)

    max_tokens: int | None = Field(None, ge=1, description="Length of the answer in tokens.")
    max_completion_tokens: int | None = Field(None, ge=1, description="The same as max_tokens.")
    min_tokens: int | None = Field(None, ge=0, description="Tokens before the answer may end.")
    temperature: float | None = Field(None, ge=0, le=2, description="0 is greedy.")
    top_p: float | None = Field(None, ge=0, le=1)
    top_k: int | None = Field(None, ge=-1, le=1_000_000, description="0 and -1 switch it off.")
    min_p: float | None = Field(None, ge=0, le=0.999)
    presence_penalty: Bias | None = None
    frequency_penalty: Bias | None = None
    repetition_penalty: float | None = Field(None, ge=0.01, le=10)
    repeat_penalty: float | None = Field(
        None, ge=0.01, le=10, description="llama.cpp's name for repetition_penalty."
    )
    seed: int | None = Field(None, ge=-(2**63), lt=2**64)
    ignore_eos: bool | None = None

    @field_validator("min_tokens")
    @classmethod
    def _no_more_than_max(cls, least: int | None, info: ValidationInfo) -> int | None:
        most = info.data.get("max_completion_tokens") or info.data.get("max_tokens")
        if most is not None and (least or 0) > most:
            raise PydanticCustomError(
                "order", "it is more than max_tokens ({most})", {"most": most}
            )
        return least

    def sampling(self) -> Sampling:
        return Sampling(
            max_tokens=self.max_completion_tokens or self.max_tokens,
            min_tokens=self.min_tokens,
            temperature=self.temperature,
            top_p=None if self.top_p is None else max(self.top_p, 1e-6),
            top_k=None if self.top_k is None else max(self.top_k, 0),
            min_p=self.min_p,
            presence_penalty=self.presence_penalty,
            frequency_penalty=self.frequency_penalty,
            repetition_penalty=self.repetition_penalty or self.repeat_penalty,
            ignore_eos=self.ignore_eos,
            seed=self.seed,
        )
