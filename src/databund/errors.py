"""Every error databund raises on purpose, as one tree.

Each class has a stable ``code``; each instance says what happened to which thing (``what``) and what to do next
(``fix``). The six branches decide the HTTP status and the exit code, so the edges never look at single classes.

::

    DatabundError
    ├── InvalidInput              a value given to us cannot be used
    │   ├── AmountInvalid         amount.invalid
    │   ├── ConfigInvalid         config.invalid
    │   ├── DocumentInvalid       document.invalid
    │   ├── FileChanged           file.changed
    │   ├── FileUnusable          file.unusable
    │   ├── IdentifierInvalid     identifier.invalid
    │   ├── KeyInvalid            key.invalid
    │   ├── OfferInvalid          offer.invalid
    │   └── PolicyInvalid         policy.invalid
    ├── Denied                    who asks may not do this
    │   ├── KeyLocked             key.locked
    │   ├── LicenseExpired        license.expired
    │   ├── LicenseMissing        license.missing
    │   ├── NotOwner              owner.required
    │   ├── PolicyDenied          policy.denied
    │   ├── SignInRequired        sign_in.required
    │   └── UsesExhausted         license.uses_exhausted
    ├── NotFound                  thing.not_found
    ├── Refused                   a trade or a step that the state of the world does not allow
    │   ├── AlreadyExists         thing.exists
    │   ├── ChainRejected         chain.rejected
    │   ├── HeadMoved             log.head_moved
    │   ├── HomeInUse             home.in_use
    │   ├── HomeTooNew            home.too_new
    │   ├── IdempotencyMismatch   idempotency.mismatch
    │   ├── IllegalMove           order.illegal_move
    │   ├── InsufficientFunds     payment.insufficient_funds
    │   ├── OfferCancelled        offer.cancelled
    │   ├── OfferExpired          offer.expired
    │   ├── OfferForged           offer.forged
    │   ├── PaymentInvalid        payment.invalid
    │   ├── SupplyExhausted       offer.sold_out
    │   └── WrongChain            chain.wrong
    ├── IntegrityFailed           what arrived is not what was promised
    │   ├── CheckpointInvalid     log.checkpoint_invalid
    │   ├── ContentMismatch       content.mismatch
    │   ├── LedgerMismatch        ledger.mismatch
    │   ├── LogDamaged            log.damaged
    │   ├── LogForked             log.forked
    │   ├── NodeChanged           node.changed
    │   ├── ProofInvalid          log.proof_invalid
    │   ├── SealBroken            seal.broken
    │   ├── SignatureInvalid      signature.invalid
    │   ├── StoreCorrupt          store.corrupt
    │   └── TimestampInvalid      timestamp.invalid
    └── Unavailable               a part we need does not answer; nothing was lost, try again
        ├── ChainUnavailable      chain.unavailable
        ├── DependencyMissing     dependency.missing
        ├── LogStale              log.stale
        ├── NodeUnreachable       node.unreachable
        ├── StoreFull             store.full
        ├── StoreUnavailable      store.unavailable
        └── TimestampUnavailable  timestamp.unavailable
"""

from __future__ import annotations

from typing import ClassVar


class DatabundError(Exception):
    """The root of the tree; catch it to catch everything databund raises on purpose.

    ``what`` names the thing and what happened to it. ``fix`` is the next act, a command where there is one.
    Neither may hold a secret: both travel to users, problem details and logs.
    """

    code: ClassVar[str] = "error"
    fix: str

    def __init__(self, what: str, *, fix: str) -> None:
        super().__init__(what)
        self.what = what
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.what} {self.fix}"


class InvalidInput(DatabundError):
    """A value given to us cannot be used."""

    code = "input.invalid"


class Denied(DatabundError):
    """Who asks may not do this."""

    code = "denied"


class NotFound(DatabundError):
    """The named thing does not exist here."""

    code = "thing.not_found"


class Refused(DatabundError):
    """A trade or a step that the state of the world does not allow."""

    code = "refused"


class IntegrityFailed(DatabundError):
    """What arrived is not what was promised; nothing of it was used."""

    code = "integrity.failed"


class Unavailable(DatabundError):
    """A part we need does not answer. Nothing was lost; the same call may be made again."""

    code = "unavailable"


class AmountInvalid(InvalidInput):
    """An amount of money or units is negative, zero, too large or not a number."""

    code = "amount.invalid"


class ConfigInvalid(InvalidInput):
    """A setting has a value that cannot be used, or an unknown name."""

    code = "config.invalid"


class DocumentInvalid(InvalidInput):
    """A JSON document, message or encoding does not have the form its standard asks for."""

    code = "document.invalid"


class FileChanged(InvalidInput):
    """A file changed while it was read."""

    code = "file.changed"


class FileUnusable(InvalidInput):
    """A file is missing, unreadable, empty, or not a regular file."""

    code = "file.unusable"


class IdentifierInvalid(InvalidInput):
    """An identifier, address or hash is malformed."""

    code = "identifier.invalid"


class KeyInvalid(InvalidInput):
    """A key is malformed, of the wrong kind, or does not open what it should."""

    code = "key.invalid"


class OfferInvalid(InvalidInput):
    """An offer contradicts itself or its dataset."""

    code = "offer.invalid"


class PolicyInvalid(InvalidInput):
    """A usage policy is not ODRL that we can decide."""

    code = "policy.invalid"


class KeyLocked(Denied):
    """A keystore needs its passphrase."""

    code = "key.locked"


class LicenseExpired(Denied):
    """The license ran out."""

    code = "license.expired"


class LicenseMissing(Denied):
    """Who asks holds no license of this offer."""

    code = "license.missing"


class NotOwner(Denied):
    """Only the owner of the thing may do this."""

    code = "owner.required"


class PolicyDenied(Denied):
    """The usage policy denies the action; the constraint that decided is named."""

    code = "policy.denied"


class SignInRequired(Denied):
    """The call needs a valid sign-in (ERC-4361)."""

    code = "sign_in.required"


class UsesExhausted(Denied):
    """Every use of the license is spent."""

    code = "license.uses_exhausted"


class AlreadyExists(Refused):
    """A thing of this name exists already and is different."""

    code = "thing.exists"


class ChainRejected(Refused):
    """The chain refused a chain transaction; nothing was paid."""

    code = "chain.rejected"


class HeadMoved(Refused):
    """Another checkpoint of the log was signed meanwhile, or another one than was named."""

    code = "log.head_moved"


class HomeInUse(Refused):
    """Another process runs on this home folder."""

    code = "home.in_use"


class HomeTooNew(Refused):
    """The home folder was written by a newer version."""

    code = "home.too_new"


class IdempotencyMismatch(Refused):
    """An idempotency key came back with another request."""

    code = "idempotency.mismatch"


class IllegalMove(Refused):
    """The order's state does not allow this event."""

    code = "order.illegal_move"


class InsufficientFunds(Refused):
    """The payer holds too little of the currency."""

    code = "payment.insufficient_funds"


class OfferCancelled(Refused):
    """The provider withdrew the offer."""

    code = "offer.cancelled"


class OfferExpired(Refused):
    """The offer's validity ended."""

    code = "offer.expired"


class OfferForged(Refused):
    """The offer's signature is not its provider's."""

    code = "offer.forged"


class PaymentInvalid(Refused):
    """The payment authorization does not fit the order."""

    code = "payment.invalid"


class SupplyExhausted(Refused):
    """Every unit of the offer is sold."""

    code = "offer.sold_out"


class WrongChain(Refused):
    """The document is made for another chain or another smart contract."""

    code = "chain.wrong"


class CheckpointInvalid(IntegrityFailed):
    """A checkpoint is malformed or not signed by a known key."""

    code = "log.checkpoint_invalid"


class ContentMismatch(IntegrityFailed):
    """The bytes are not the ones the offer commits to."""

    code = "content.mismatch"


class LedgerMismatch(IntegrityFailed):
    """A replay of the chain gives another state than the recorded one."""

    code = "ledger.mismatch"


class LogDamaged(IntegrityFailed):
    """A stored resource of a log is not what it was.

    ``path`` is where it is served (c2sp.org/tlog-tiles), ``offset`` the first bad byte in it, ``index`` the entry.
    """

    code = "log.damaged"

    def __init__(
        self, what: str, *, fix: str, resource: str = "", path: str = "", offset: int = 0, index: int | None = None
    ) -> None:
        super().__init__(what, fix=fix)
        self.resource = resource
        self.path = path
        self.offset = offset
        self.index = index


class LogForked(IntegrityFailed):
    """The log contradicts a checkpoint that was signed before."""

    code = "log.forked"


class NodeChanged(IntegrityFailed):
    """A node names another chain, exchange, currency or log key than when it was first met."""

    code = "node.changed"


class ProofInvalid(IntegrityFailed):
    """An inclusion or consistency proof does not lead to the root."""

    code = "log.proof_invalid"


class SealBroken(IntegrityFailed):
    """A ciphertext does not open: corrupted, truncated, reordered, or sealed under another key."""

    code = "seal.broken"


class SignatureInvalid(IntegrityFailed):
    """A signature is malformed, or not that of who should have signed."""

    code = "signature.invalid"


class StoreCorrupt(IntegrityFailed):
    """Stored data contradicts itself."""

    code = "store.corrupt"


class TimestampInvalid(IntegrityFailed):
    """A timestamp is malformed, of other bytes, or not by whom it has to be."""

    code = "timestamp.invalid"


class ChainUnavailable(Unavailable):
    """The chain's node does not answer."""

    code = "chain.unavailable"


class DependencyMissing(Unavailable):
    """An optional part is not installed; the fix is the exact install command."""

    code = "dependency.missing"


class LogStale(Unavailable):
    """A log has neither grown nor been cosigned again for too long."""

    code = "log.stale"


class NodeUnreachable(Unavailable):
    """The databund node does not answer."""

    code = "node.unreachable"


class StoreFull(Unavailable):
    """The disk or the object store is full; what was half written is removed."""

    code = "store.full"


class StoreUnavailable(Unavailable):
    """The database or the object store does not answer."""

    code = "store.unavailable"


class TimestampUnavailable(Unavailable):
    """A time-stamping authority or a calendar does not answer, or refuses to."""

    code = "timestamp.unavailable"


def by_code(code: str) -> type[DatabundError]:
    """The class of a code; `DatabundError` itself for a code of a newer version."""
    known = {DatabundError.code: DatabundError}
    waiting = [DatabundError]
    while waiting:
        for child in waiting.pop().__subclasses__():
            known.setdefault(child.code, child)
            waiting.append(child)
    return known.get(code, DatabundError)
