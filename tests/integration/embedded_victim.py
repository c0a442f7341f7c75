"""A process to be killed: several threads send chain transactions, and print the hash of each acknowledged one.

Arguments: the chain's file, and the number of threads.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

from databund.chain.embedded import EmbeddedNode
from tests.integration.embedded_chain import Wallet


def _send(node: EmbeddedNode) -> None:
    wallet = Wallet()
    while True:
        receipt = wallet.send(node)
        os.write(1, f"{receipt['transactionHash']} {receipt['blockNumber']}\n".encode())


if __name__ == "__main__":
    chain = EmbeddedNode.open(Path(sys.argv[1]), now=lambda: int(time.time()))
    threads = [threading.Thread(target=_send, args=(chain,)) for _ in range(int(sys.argv[2]))]
    for thread in threads:
        thread.start()
