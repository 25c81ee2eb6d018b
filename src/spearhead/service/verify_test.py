"""Promises of the free look at files. What it finds is shown over a real server in tests/studio_security_test.py."""

from pathlib import Path

import pytest

from spearhead.service.tries import MOST_KNOWN
from spearhead.service.verify import MOST, WINDOW, TooMany, Verifier
from spearhead.store.home import Home


def test_a_customer_with_many_ipv6_addresses_is_counted_as_one(tmp_path: Path) -> None:
    moment = 0.0
    verifier = Verifier(Home(tmp_path, tmp_path), clock=lambda: moment)
    for number in range(MOST):
        verifier.count(f"2001:db8:1:2::{number:x}")
    with pytest.raises(TooMany) as caught:
        verifier.count("2001:db8:1:2:ffff::1")
    assert caught.value.seconds == WINDOW + 1
    verifier.count("2001:db8:1:3::1")
    moment = WINDOW
    verifier.count("2001:db8:1:2::1")


def test_many_strangers_lock_nobody_out(tmp_path: Path) -> None:
    verifier = Verifier(Home(tmp_path, tmp_path), clock=lambda: 0.0)
    for number in range(MOST_KNOWN):
        verifier.count(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    verifier.count("192.0.2.7")
