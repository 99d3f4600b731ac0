"""How long it takes until an event counts: from the moment it is sent to the answer that it has changed."""

from __future__ import annotations

import http.client
import json
import ssl
import statistics
import time
import urllib.parse
import uuid
from collections.abc import Sequence
from typing import Any

from serving.gateway import asgi

#: Longest that is waited for a change, in seconds.
_LONGEST = 5.0


def measure(url: str, token: str, items: Sequence[str], rounds: int) -> dict[str, Any]:
    """Sends events of new users to a gateway that runs, and asks until the order of the best 20 is another than before.

    Each round is a user of its own, about whom nothing is known at first; the event is a click on one of the items.
    Before it the user is asked for twice, so that an order that changes by itself is not taken for fresh.

    Args:
      url: of the gateway.
      token: to call with; "" for none.
      items: that may be clicked, in turns.
      rounds: that are measured.

    Returns:
      Milliseconds from sending the event to having the changed ranking: median, 95th percentile and most; and in how
      many rounds the first answer after the event had it.

    Raises:
      ValueError: if the gateway does not answer, or a ranking stays the same, or changes without an event.
    """
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"the gateway's address is {url!r}; expected one such as http://127.0.0.1:8080.")
    if parts.scheme == "https":
        context = ssl.create_default_context()
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            parts.hostname, parts.port, timeout=_LONGEST, context=context
        )
    else:
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=_LONGEST)

    def call(path: str, body: dict[str, Any]) -> dict[str, Any]:
        headers = {"content-type": "application/json", **({"authorization": f"Bearer {token}"} if token else {})}
        try:
            connection.request("POST", path, json.dumps(body), headers)
            response = connection.getresponse()
            content = json.loads(response.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise ValueError(f"{url} does not answer ({error or type(error).__name__}).") from None
        if response.status != 200:
            raise ValueError(f"{url} answers {response.status}: {content['error']['message']}")
        answer: dict[str, Any] = content
        return answer

    def ranking(user: str) -> list[str]:
        answer = call(asgi.RECOMMEND, {"user_id": user, "top": 20})
        if answer["model"] is None:
            raise ValueError(f"a fallback ({answer['fallback']}) answers in place of the model; expected its ranking.")
        return [item["item_id"] for item in answer["items"]]

    times, at_once = [], 0
    for number in range(rounds):
        user = f"freshness-{uuid.uuid4().hex}"
        before = ranking(user)
        if ranking(user) != before:
            raise ValueError("the ranking changes without an event; expected the same one twice.")
        began, asked = time.perf_counter(), 0
        call(asgi.EVENTS, {"user_id": user, "item_id": items[number % len(items)], "event_type": "click"})
        while True:
            asked += 1
            after = ranking(user)
            took = time.perf_counter() - began
            if after != before:
                break
            if took > _LONGEST:
                raise ValueError(f"the ranking is the same {took:.1f} s after the event; expected another one.")
        times.append(took * 1000)
        at_once += asked == 1
    connection.close()
    ordered = sorted(times)
    return {
        "rounds": rounds,
        "median_ms": round(statistics.median(ordered), 2),
        "p95_ms": round(ordered[max(0, -(-95 * rounds // 100) - 1)], 2),
        "most_ms": round(ordered[-1], 2),
        "at_once": at_once,
    }
