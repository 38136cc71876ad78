"""Retry failures of the machine with growing pauses, but never a numerical failure."""

import time
from collections.abc import Callable, Iterator

from lambda_hat_core.work.client import Event

PAUSES = (1.0, 10.0)
"""Seconds before the second and the third try."""

DEATHS = 1
"""Deaths of a worker that are retried. A cause that kills it twice, such as too little memory, is
taken to be permanent."""


def insist(
    ask: Callable[[], Iterator[Event]],
    *,
    give_up: Callable[[], bool] = lambda: False,
    sleep: Callable[[float], object] = time.sleep,
) -> Iterator[Event]:
    """Yield the events of a request until it is done, or fails for good.

    A failure that is tried again is a "log" event, so that "done" or "failed" comes once.

    Args:
        ask: sends the request, as `lambda: client.run([line])` does, and returns its events.
        give_up: returns whether the answer is no longer needed.
        sleep: waits for a number of seconds.
    """
    deaths = 0
    for pause in (*PAUSES, None):
        for event in ask():
            if event["event"] != "failed":
                yield event
                continue
            deaths += event["cause"] == "died"
            if pause is None or not event["transient"] or deaths > DEATHS or give_up():
                yield event
                return
            words = f"{event['reason']}; tried again in {pause:g} s"
            yield {"id": event["id"], "event": "log", "message": words}
            sleep(pause)
            if give_up():
                yield event
                return
            break
        else:
            return
