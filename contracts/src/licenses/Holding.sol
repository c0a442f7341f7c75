// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @notice What one holder has under one offer, in one storage word.
/// @dev From the low end: units (64 bits), expiry (64), uses (64), locked (1). The zero word is "nothing held".
type Holding is uint256;

/// @dev The expiry of a license that never ends.
uint64 constant PERPETUAL = type(uint64).max;

/// @notice A number of units, uses or seconds would not fit into a holding.
error HoldingOverflow();

using {units, expiry, uses, locked, remaining, extend, split, join} for Holding global;

/// @notice The holding made of these parts.
/// @param units_ Units held.
/// @param expiry_ The last second of the term.
/// @param uses_ Uses granted so far.
/// @param locked_ Whether the units cannot be transferred.
/// @return The packed word.
function pack(uint256 units_, uint256 expiry_, uint256 uses_, bool locked_) pure returns (Holding) {
    if ((units_ | expiry_ | uses_) >> 64 != 0) revert HoldingOverflow();
    uint256 lock;
    assembly ("memory-safe") {
        lock := locked_
    }
    return Holding.wrap(units_ | (expiry_ << 64) | (uses_ << 128) | (lock << 192));
}

/// @notice Units held: the ERC-1155 balance.
/// @param held The holding.
/// @return The number of units.
function units(Holding held) pure returns (uint64) {
    return uint64(Holding.unwrap(held));
}

/// @notice The last second (Unix time) of the term, or `PERPETUAL`.
/// @param held The holding.
/// @return The expiry; 0 where there never was a term.
function expiry(Holding held) pure returns (uint64) {
    return uint64(Holding.unwrap(held) >> 64);
}

/// @notice Uses granted so far, or 0 for unlimited.
/// @param held The holding.
/// @return The number of uses; whoever meters subtracts what was used.
function uses(Holding held) pure returns (uint64) {
    return uint64(Holding.unwrap(held) >> 128);
}

/// @notice Whether the units cannot be transferred.
/// @param held The holding.
/// @return True for a license of an offer that is not transferable.
function locked(Holding held) pure returns (bool) {
    return (Holding.unwrap(held) >> 192) & 1 == 1;
}

/// @notice Seconds left of the term.
/// @param held The holding.
/// @param time The present Unix time.
/// @return The seconds left, or `PERPETUAL`.
function remaining(Holding held, uint64 time) pure returns (uint64) {
    uint64 end = held.expiry();
    if (end == PERPETUAL) return PERPETUAL;
    return end > time ? end - time : 0;
}

/// @notice The holding after a purchase: the term grows from its end, or from now when it has ended.
/// @param held The holding before.
/// @param bought Units bought.
/// @param duration Seconds per unit, 0 for perpetual.
/// @param usesEach Uses per unit, 0 for unlimited.
/// @param lock Whether the units cannot be transferred.
/// @param time The present Unix time.
/// @return The holding after.
function extend(Holding held, uint64 bought, uint64 duration, uint64 usesEach, bool lock, uint64 time)
    pure
    returns (Holding)
{
    unchecked {
        // No factor has more than 64 bits, so nothing here reaches 256; what exceeds 64 bits is refused at the end.
        uint256 end = PERPETUAL;
        if (duration != 0) {
            uint256 start = held.expiry();
            if (start < time) start = time;
            end = start + uint256(bought) * duration;
            if (end >= PERPETUAL) revert HoldingOverflow();
        }
        return pack(uint256(held.units()) + bought, end, uint256(held.uses()) + uint256(bought) * usesEach, lock);
    }
}

/// @notice Take units out of a holding, with their part of the remaining term, rounded down.
/// @dev The caller has checked that `taken` is neither 0 nor more than is held. Nothing stays when all is taken.
/// @param held The holding before.
/// @param taken Units taken.
/// @param time The present Unix time.
/// @return rest The holding after.
/// @return term Seconds that go with the units, or `PERPETUAL`.
function split(Holding held, uint64 taken, uint64 time) pure returns (Holding rest, uint64 term) {
    term = held.remaining(time);
    if (taken == held.units()) return (Holding.wrap(0), term);
    uint64 end = held.expiry();
    if (end != PERPETUAL) {
        term = uint64(uint256(term) * taken / held.units());
        end -= term;
    }
    rest = pack(held.units() - taken, end, held.uses(), held.locked());
}

/// @notice Put units and their term into a holding.
/// @dev Units without a term leave the expiry alone: an ended license must not come to life by being passed on.
/// @param held The holding before.
/// @param added Units added.
/// @param term Seconds that come with the units, or `PERPETUAL`.
/// @param time The present Unix time.
/// @return The holding after.
function join(Holding held, uint64 added, uint64 term, uint64 time) pure returns (Holding) {
    uint256 end = held.expiry();
    if (term == PERPETUAL) {
        end = PERPETUAL;
    } else if (term != 0) {
        end = (end > time ? end : time) + term;
        if (end >= PERPETUAL) revert HoldingOverflow();
    }
    return pack(uint256(held.units()) + added, end, held.uses(), held.locked());
}
