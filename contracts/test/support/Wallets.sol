// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC1155Receiver} from "@openzeppelin/contracts/token/ERC1155/IERC1155Receiver.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {Exchange} from "../../src/Exchange.sol";
import {Offer} from "../../src/offers/Offer.sol";

/// @dev A smart account (ERC-1271) that accepts the signatures of one key, until it is told not to.
contract Wallet {
    address private immutable SIGNER;
    bool private _revoked;

    constructor(address signer) {
        SIGNER = signer;
    }

    function revoke() external {
        _revoked = true;
    }

    function isValidSignature(bytes32 digest, bytes calldata signed) external view returns (bytes4) {
        return !_revoked && ECDSA.recover(digest, signed) == SIGNER ? bytes4(0x1626ba7e) : bytes4(0);
    }
}

/// @dev A buyer that takes licenses and, on receiving one, tries to buy once more from inside the purchase.
contract ReentrantBuyer {
    Exchange private immutable EXCHANGE;
    bytes private _call;

    constructor(Exchange exchange) {
        EXCHANGE = exchange;
    }

    function buy(Offer calldata offer, bytes calldata signed) external {
        _call = abi.encodeCall(Exchange.buy, (offer, signed, 1));
        EXCHANGE.buy(offer, signed, 1);
    }

    function onERC1155Received(address, address, uint256, uint256, bytes calldata) external returns (bytes4) {
        (bool done, bytes memory reason) = address(EXCHANGE).call(_call);
        if (!done) {
            assembly ("memory-safe") {
                revert(add(reason, 0x20), mload(reason))
            }
        }
        return IERC1155Receiver.onERC1155Received.selector;
    }
}

/// @dev A holder that takes licenses, or refuses them.
contract Holder {
    bool private immutable WILLING;

    constructor(bool willing) {
        WILLING = willing;
    }

    function onERC1155Received(address, address, uint256, uint256, bytes calldata) external view returns (bytes4) {
        return WILLING ? IERC1155Receiver.onERC1155Received.selector : bytes4(0);
    }
}
