"""A process that writes until it is killed: `python storage_writer.py URL`, one line for each acknowledged number.

Each database transaction adds an order, a dataset version and a log entry, all of one number.
"""

from __future__ import annotations

import itertools
import sys

from databund.storage.database import SqlDatabase
from databund.testing import samples


def main(url: str) -> None:
    """Go on from the log's size."""
    database = SqlDatabase.open(url, create=False)
    with database.read() as tables:
        first = int(tables.log.checkpoint() or b"0")
    for number in itertools.count(first):
        with database.write() as tables:
            tables.orders.add(samples.order(number + 1))
            tables.catalog.add(samples.release(version=number + 1, title=f"word{number}"))
            tables.log.write(
                number, [b"%d" % number], tiles={(0, 0): samples.hash32(number)}, checkpoint=b"%d" % (number + 1)
            )
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1])
