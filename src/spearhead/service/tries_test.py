"""Promises of counted tries. The door of the studio is shown over a real server in tests/studio_security_test.py."""

from spearhead.service.tries import MOST_KNOWN, Tries, whole


def test_tries_are_counted_in_a_window_that_begins_with_the_first() -> None:
    moment = 0.0
    tries = Tries(seconds=100, clock=lambda: moment)
    for _ in range(3):
        assert tries.left("ada", most=3) == 0
        tries.count("ada")
    assert tries.left("ada", most=3) == 100
    assert tries.left("bob", most=3) == 0
    moment = 60
    assert tries.left("ada", most=3) == 40
    tries.forgive("ada")
    assert tries.left("ada", most=3) == 0
    tries.count("ada")
    moment = 100
    assert tries.left("ada", most=3) == 0
    tries.count("ada")
    assert tries.left("ada", most=1) == 100
    tries.forget("ada")
    assert tries.left("ada", most=1) == 0


def test_many_strangers_do_not_fill_the_memory() -> None:
    tries = Tries(seconds=900)
    for number in range(MOST_KNOWN + 500):
        tries.count(str(number))
    assert len(tries._counts) == MOST_KNOWN
    assert tries.left("0", most=1) == 0 and tries.left(str(MOST_KNOWN + 499), most=1) > 0


def test_an_ipv6_customer_is_one_address() -> None:
    assert whole("2001:db8:1:2:3:4:5:6") == whole("2001:db8:1:2::9") == "2001:db8:1:2::/64"
    assert whole("2001:db8:1:3::9") != whole("2001:db8:1:2::9")
    assert whole("::ffff:192.0.2.7") != whole("::ffff:192.0.2.8")
    assert whole("192.0.2.7") == "192.0.2.7"
    assert whole("a pipe") == "a pipe"
