// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @notice What a buyer authorized by signing an ERC-3009 payment whose nonce is the order's identifier.
/// @param buyer Who pays and receives the license.
/// @param units How many units are bought.
/// @param salt Distinguishes the buyer's orders for the same offer.
/// @param validAfter The payment is valid after this Unix time, exclusive.
/// @param validBefore The payment is valid before this Unix time, exclusive.
struct Purchase {
    address buyer;
    uint64 units;
    bytes32 salt;
    uint256 validAfter;
    uint256 validBefore;
}

/// @notice The identifier of an order. A payment that carries it as nonce pays for this order and no other.
/// @param offerId The offer bought.
/// @param buyer Who pays and receives the license.
/// @param units How many units are bought.
/// @param salt Distinguishes the buyer's orders for the same offer.
/// @return The identifier.
function hashOrder(bytes32 offerId, address buyer, uint64 units, bytes32 salt) pure returns (bytes32) {
    return keccak256(abi.encode(offerId, buyer, units, salt));
}
