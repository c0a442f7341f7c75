"""How long one execution may take. Gas costs nothing here, so it bounds nobody's patience."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

READING_S: Final = 5.0  # a call or an estimate, as in geth
WRITING_S: Final = 20.0  # one chain transaction; a block's whole gas in plain instructions takes about half of it


def patience(seconds: float) -> Callable[[], None]:
    """A question for an execution in this thread: it raises ``Rejected`` once that took so much processor time."""
    from databund.chain.embedded.machine import Rejected

    end = time.thread_time() + seconds

    def go_on() -> None:
        if time.thread_time() > end:
            raise Rejected(f"execution aborted (timeout = {seconds:g}s)")

    return go_on
