"""The routes of attachments: read one, and erase one.

Who holds only the commitment, which is in the public log, is shown nothing.
"""

from __future__ import annotations

from litestar import Controller, Response, get, post
from litestar.params import FromPath, JSONBody

from databund.api.dependencies import Holder, TheNode
from databund.core.attachments import Erasure, ErasureRequest
from databund.core.evidence import Disclosure
from databund.core.ids import Commitment, Hex

__all__ = ["AttachmentRoutes"]

_NO_STORE = {"Cache-Control": "no-store"}


class AttachmentRoutes(Controller):
    """Personal data beside the log."""

    path = "/attachments"
    tags = ("attachments",)

    @get("/{commitment:str}", sync_to_thread=True, summary="Show an attachment")
    def show(self, node: TheNode, holder: Holder, commitment: FromPath[str]) -> Response[Disclosure]:
        """Salt and content, for the operator and the account that it is about; 404 says when it was erased."""
        named = Commitment.parse(commitment)
        salt, content = node.attaching.read(holder, named)
        return Response(Disclosure(named, Hex(salt), Hex(content)), headers=_NO_STORE)

    @post("/{commitment:str}/erasure", sync_to_thread=True, status_code=200, summary="Erase an attachment (operator)")
    def erase(
        self, node: TheNode, holder: Holder, commitment: FromPath[str], data: JSONBody[ErasureRequest]
    ) -> Erasure:
        """Forget it for good, and log that; asked again, it gives the first time. Only the operator may."""
        named = Commitment.parse(commitment)
        return Erasure(named, node.attaching.erase(holder, named, reason=data.reason))
