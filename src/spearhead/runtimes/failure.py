"""What a runtime says when it cannot answer; each has the code that an API puts beside the sentence."""

from spearhead.core.errors import InputError, SpearheadError
from spearhead.core.sentence import Said


class PromptTooLong(InputError):
    """The prompt leaves no room for an answer in the model's context."""

    code = "context_length_exceeded"
    number: int | None = None
    """Which of several prompts it is."""


class OptionRefused(InputError):
    """An option of a request that cannot be honoured at all, or not with this value; `prompt` is one of them."""

    code = "invalid_value"
    number: int | None = None
    """Which of several prompts it is about."""

    def __init__(self, option: str, message: Said) -> None:
        super().__init__(message)
        self.option = option


class RuntimeFailed(SpearheadError):
    """The runtime broke off; what came before is valid, the same request may be tried again."""

    code = "runtime_failed"
