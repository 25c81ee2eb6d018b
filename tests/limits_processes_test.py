"""Promises of the limits when two servers work over one database: together they let in what one would."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
from tests.conftest import Served, start_server

from spearhead.ledger import journal, limits, usage

BODY = {"model": "tiny", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 8}
MOST = 16


def test_two_servers_let_a_key_in_as_often_as_one_and_charge_what_they_let_in(tmp_path: Any) -> None:
    servers = [start_server(tmp_path, limits=f"{MOST},1000000,16") for _ in range(2)]
    try:
        account = servers[0].account()
        headers = {"authorization": f"Bearer {servers[0].key(account).secret}"}
        statuses: list[int] = []
        left: list[int] = []

        def ask(server: Served) -> None:
            with httpx.Client(base_url=server.url, headers=headers, timeout=60) as client:
                for _ in range(MOST // 2 + 3):
                    answer = client.post("/v1/chat/completions", json=BODY)
                    statuses.append(answer.status_code)
                    left.append(int(answer.headers["x-ratelimit-remaining-requests"]))
                    assert answer.status_code == 200 or answer.json()["error"]["type"] == "requests"

        with ThreadPoolExecutor(2) as pool:
            for done in [pool.submit(ask, server) for server in servers]:
                done.result()
        seen = Counter(statuses)
        # A lease is at least a request wide, so the last ones may lie unused in one of the two.
        part = -(-MOST // 32)
        assert MOST - part <= seen[200] <= MOST and seen[200] + seen[429] == 2 * (MOST // 2 + 3), seen
        assert min(left) == 0
        engine = servers[0].engine
        assert sum(line.requests for line in usage.report(engine, account=account)) == seen[200]
        assert journal.check(engine) + usage.check(engine) + limits.check(engine) == []
        assert 10**9 - servers[0].balance(account).available == seen[200] * 5 * (200 + 800)
    finally:
        for server in servers:
            server.close()
