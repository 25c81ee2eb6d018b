"""Promises about bodies that are wrong all over: the first thing wrong is told, and no more is looked for."""

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from spearhead.service.api import asks, responses
from spearhead.service.api.asks import Ask
from spearhead.service.api.errors import ApiError

MANY = 3_000
TURN = {"role": "user", "content": "x"}


@pytest.mark.parametrize(
    ("read", "body", "param"),
    [
        (responses.read, {"input": [{"role": "user", "content": [1] * MANY}]}, "input[0].content[0]"),
        (responses.read, {"input": [1] * 2048}, "input[0]"),
        (responses.read, {"input": "x", "stop": [1] * MANY}, "stop"),
        (asks.chat, {"messages": [{"role": "user", "content": [1] * MANY}]}, "messages[0].content"),
        (asks.chat, {"messages": [1] * 2048}, "messages[0]"),
        (asks.chat, {"messages": [TURN], "stop": [""] * MANY}, "stop"),
        (asks.completion, {"prompt": "x", "stop": [1] * MANY}, "stop"),
    ],
)
def test_a_list_of_wrong_items_is_left_at_the_first(read: Callable[..., Ask], body: dict[str, Any], param: str) -> None:
    with pytest.raises(ApiError) as caught:
        read({"model": "tiny", **body}, account="a", key="k")
    cause = caught.value.__cause__
    assert isinstance(cause, ValidationError) and cause.error_count() <= 3  # one for each kind that it could have been
    assert caught.value.param == param


@pytest.mark.parametrize("name", ["logit_bias", "metadata"])
def test_an_object_of_far_too_many_members_is_not_looked_through(name: str) -> None:
    body = {"model": "tiny", "input": "x", name: {str(number): None for number in range(MANY)}}
    with pytest.raises(ApiError, match=f"{name} has {MANY} members: wanted at most 2048") as caught:
        responses.read(body, account="a", key="k")
    assert (caught.value.status, caught.value.param) == (400, name)
