// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @notice A share of every sale's price that goes to somebody other than the provider: a fee, a royalty.
/// @param account Who receives the share.
/// @param basisPoints The share in 1/10,000 of the price, rounded down.
struct Split {
    address account;
    uint16 basisPoints;
}

/// @notice Terms under which a provider sells licenses. The provider's signature over it is the listing.
/// @param provider Who sells, signs and receives what the splits leave.
/// @param dataset The dataset or algorithm sold.
/// @param contentRoot Root hash of the content that will be delivered.
/// @param termsHash SHA-256 of the RFC 8785 form of the ODRL offer.
/// @param currency The ERC-20 token the price is paid in.
/// @param unitPrice Price of one unit, in the currency's base units; 0 is free.
/// @param duration Seconds that one unit lasts; 0 is perpetual.
/// @param uses Uses that one unit grants; 0 is unlimited.
/// @param supply Units that can be sold in all; 0 is unlimited.
/// @param requires Mask of the claims a buyer must have; only 0 can be sold today.
/// @param escrow Seconds the price is held until delivery; only 0 can be sold today.
/// @param transferable Whether a holder may pass licenses on.
/// @param splits Shares of the price, together at most 10,000 basis points.
/// @param validUntil The last second (Unix time) in which the offer can be bought.
/// @param salt Distinguishes offers that are otherwise the same.
struct Offer {
    address provider;
    bytes32 dataset;
    bytes32 contentRoot;
    bytes32 termsHash;
    address currency;
    uint256 unitPrice;
    uint64 duration;
    uint64 uses;
    uint64 supply;
    uint256 requires;
    uint64 escrow;
    bool transferable;
    Split[] splits;
    uint64 validUntil;
    bytes32 salt;
}

/// @dev The EIP-712 type of a split.
bytes32 constant SPLIT_TYPEHASH = keccak256("Split(address account,uint16 basisPoints)");

/// @dev The EIP-712 type of an offer.
bytes32 constant OFFER_TYPEHASH = keccak256(
    "Offer(address provider,bytes32 dataset,bytes32 contentRoot,bytes32 termsHash,address currency,uint256 unitPrice,"
    "uint64 duration,uint64 uses,uint64 supply,uint256 requires,uint64 escrow,bool transferable,Split[] splits,"
    "uint64 validUntil,bytes32 salt)Split(address account,uint16 basisPoints)"
);

/// @dev The EIP-712 type of a provider's withdrawal of an offer.
bytes32 constant CANCEL_TYPEHASH = keccak256("Cancel(bytes32 offer)");

/// @notice The EIP-712 `hashStruct` of an offer: its identifier, and the ERC-1155 token id of the licenses sold under it.
/// @dev The ABI encoding of an offer in calldata is its EIP-712 encoding, but for the type hash before it and the splits,
/// which are an offset. So it is copied in one piece. Bits beyond a field's type are not looked at here: the exchange
/// reads every field of what it sells, and reading refuses them.
/// @param offer The offer to hash.
/// @return hash The struct hash; it does not depend on a chain or an exchange, the signed digest does.
function hashOffer(Offer calldata offer) pure returns (bytes32 hash) {
    bytes32 typeHash = OFFER_TYPEHASH;
    bytes32 splitsHash = hashSplits(offer.splits);
    assembly ("memory-safe") {
        let encoding := mload(0x40)
        mstore(encoding, typeHash)
        calldatacopy(add(encoding, 0x20), offer, 0x1e0) // 15 fields
        mstore(add(encoding, 0x1a0), splitsHash) // the 13th of them
        hash := keccak256(encoding, 0x200)
    }
}

/// @notice The EIP-712 encoding of an array of splits: the hash of their struct hashes one after the other.
/// @param splits The splits to hash.
/// @return hash The hash that stands for the array in the offer's encoding.
function hashSplits(Split[] calldata splits) pure returns (bytes32 hash) {
    bytes32 typeHash = SPLIT_TYPEHASH;
    assembly ("memory-safe") {
        // The hashes grow from the free memory on; each split is encoded in the three words after the last of them.
        let hashes := mload(0x40)
        let end := add(hashes, shl(5, splits.length))
        mstore(end, typeHash)
        let source := splits.offset
        for { let next := hashes } lt(next, end) { next := add(next, 0x20) } {
            calldatacopy(add(end, 0x20), source, 0x40)
            mstore(next, keccak256(end, 0x60))
            source := add(source, 0x40)
        }
        hash := keccak256(hashes, sub(end, hashes))
    }
}

/// @notice The EIP-712 `hashStruct` of a provider's withdrawal of an offer.
/// @param offerId The offer withdrawn.
/// @return The struct hash.
function hashCancel(bytes32 offerId) pure returns (bytes32) {
    return keccak256(abi.encode(CANCEL_TYPEHASH, offerId));
}
