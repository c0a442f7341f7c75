// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ERC1155} from "@openzeppelin/contracts/token/ERC1155/ERC1155.sol";
import {ERC1155Utils} from "@openzeppelin/contracts/token/ERC1155/utils/ERC1155Utils.sol";
import {Holding} from "./licenses/Holding.sol";

/// @title Licenses as ERC-1155 tokens
/// @notice The token id is the offer's identifier, the balance is the number of units. Expiry and uses lie in the same
/// storage word, so whether somebody is entitled is state that anyone can read and prove, not an event somewhere.
/// @dev OpenZeppelin's balance mapping stays empty: `balanceOf` and `_update` work on the packed holdings.
/// Units of one holder share one term. A transfer takes its part of that term along, and the term's total never grows;
/// who buys units second hand reads `licenseOf` first, since units without remaining time can be passed on too.
contract LicenseToken is ERC1155 {
    /// @notice The only account that issues licenses.
    address public immutable EXCHANGE;

    mapping(address holder => mapping(uint256 offerId => Holding)) private _holdings;

    /// @notice Units were transferred, and the term of both holders is now this.
    /// @param offerId The offer of the license.
    /// @param from Who gave units away.
    /// @param to Who received them.
    /// @param fromExpiry The giver's expiry after the transfer, 0 when no unit is left.
    /// @param toExpiry The recipient's expiry after the transfer.
    event TermMoved(
        uint256 indexed offerId, address indexed from, address indexed to, uint64 fromExpiry, uint64 toExpiry
    );

    /// @notice Only the exchange issues licenses.
    /// @param caller Who tried.
    error NotExchange(address caller);

    /// @notice The license's offer is not transferable.
    /// @param holder Whose license it is.
    /// @param offerId The offer of the license.
    error LicenseLocked(address holder, uint256 offerId);

    /// @param exchange The only account that issues licenses.
    /// @param uri_ Where the metadata of a token lies, with `{id}` for the token id in hexadecimal.
    constructor(address exchange, string memory uri_) ERC1155(uri_) {
        EXCHANGE = exchange;
    }

    /// @notice Issue units of a license; only the exchange, against payment.
    /// @param to Who receives the license; a smart contract must accept ERC-1155 tokens.
    /// @param offerId The offer bought.
    /// @param bought How many units.
    /// @param duration Seconds per unit, 0 for perpetual.
    /// @param uses Uses per unit, 0 for unlimited. A license with counted uses is always locked.
    /// @param lock Whether the license cannot be transferred.
    /// @return expiry The last second of the holder's term.
    function issue(address to, uint256 offerId, uint64 bought, uint64 duration, uint64 uses, bool lock)
        external
        returns (uint64 expiry)
    {
        if (msg.sender != EXCHANGE) revert NotExchange(msg.sender);
        if (to == address(0)) revert ERC1155InvalidReceiver(to);
        Holding held = _holdings[to][offerId].extend(bought, duration, uses, lock || uses != 0, uint64(block.timestamp));
        _holdings[to][offerId] = held;
        expiry = held.expiry();
        emit TransferSingle(msg.sender, address(0), to, offerId, bought);
        ERC1155Utils.checkOnERC1155Received(msg.sender, address(0), to, offerId, bought, "");
    }

    /// @notice What a holder has under an offer.
    /// @param holder Whose license.
    /// @param offerId The offer.
    /// @return units Units held.
    /// @return expiry The last second of the term; the greatest uint64 when it never ends.
    /// @return uses Uses granted in all, 0 when unlimited.
    function licenseOf(address holder, uint256 offerId)
        external
        view
        returns (uint64 units, uint64 expiry, uint64 uses)
    {
        Holding held = _holdings[holder][offerId];
        return (held.units(), held.expiry(), held.uses());
    }

    /// @notice Whether a holder may use the offer's content now. Uses are metered by whoever delivers.
    /// @param holder Whose license.
    /// @param offerId The offer.
    /// @return True with at least one unit and a term that has not ended.
    function isEntitled(address holder, uint256 offerId) external view returns (bool) {
        Holding held = _holdings[holder][offerId];
        return held.units() != 0 && held.expiry() >= block.timestamp;
    }

    /// @notice Whether a holder's license cannot be transferred, in the manner of ERC-5192.
    /// @param holder Whose license.
    /// @param offerId The offer.
    /// @return True for a license that stays with its holder; false where nothing is held.
    function locked(address holder, uint256 offerId) external view returns (bool) {
        return _holdings[holder][offerId].locked();
    }

    /// @inheritdoc ERC1155
    function balanceOf(address account, uint256 id) public view override returns (uint256) {
        return _holdings[account][id].units();
    }

    /// @dev Moves units between two holders. Issuing does not come through here, and nothing is ever burned.
    /// @inheritdoc ERC1155
    function _update(address from, address to, uint256[] memory ids, uint256[] memory values) internal override {
        if (ids.length != values.length) revert ERC1155InvalidArrayLength(ids.length, values.length);
        for (uint256 i = 0; i < ids.length; ++i) {
            _move(from, to, ids[i], values[i]);
        }
        if (ids.length == 1) {
            emit TransferSingle(_msgSender(), from, to, ids[0], values[0]);
        } else {
            emit TransferBatch(_msgSender(), from, to, ids, values);
        }
    }

    /// @dev Moves units of one license with their part of the term. The giver's word is written before the recipient's is
    /// read, so a transfer to oneself changes nothing that counts.
    function _move(address from, address to, uint256 offerId, uint256 value) private {
        Holding held = _holdings[from][offerId];
        if (held.locked()) revert LicenseLocked(from, offerId);
        if (value > held.units()) revert ERC1155InsufficientBalance(from, held.units(), value, offerId);
        if (value == 0) return;
        // The value is at most the units held, which are a uint64.
        // forge-lint: disable-next-line(unsafe-typecast)
        uint64 moved = uint64(value);
        uint64 time = uint64(block.timestamp);
        (Holding rest, uint64 term) = held.split(moved, time);
        _holdings[from][offerId] = rest;
        Holding grown = _holdings[to][offerId].join(moved, term, time);
        _holdings[to][offerId] = grown;
        emit TermMoved(offerId, from, to, rest.expiry(), grown.expiry());
    }
}
