// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC1155Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {IERC1155} from "@openzeppelin/contracts/token/ERC1155/IERC1155.sol";
import {Market} from "./support/Market.sol";
import {Holder} from "./support/Wallets.sol";
import {LicenseToken} from "../src/LicenseToken.sol";
import {HoldingOverflow} from "../src/licenses/Holding.sol";
import {Offer} from "../src/offers/Offer.sol";

contract LicenseTokenTest is Market {
    /// Only the exchange issues licenses.
    function testFuzz_onlyTheExchangeIssues(address who) public {
        vm.assume(who != address(exchange));
        vm.expectRevert(abi.encodeWithSelector(LicenseToken.NotExchange.selector, who));
        vm.prank(who);
        licenses.issue(who, 1, 1, 1, 0, false);
    }

    /// Nothing is issued to the zero address.
    function test_zeroAddressHoldsNothing() public {
        vm.expectRevert(abi.encodeWithSelector(IERC1155Errors.ERC1155InvalidReceiver.selector, address(0)));
        vm.prank(address(exchange));
        licenses.issue(address(0), 1, 1, 1, 0, false);
    }

    /// Issuing shows as an ERC-1155 mint by the exchange.
    function test_issueIsAMint() public {
        Offer memory offer = anOffer();
        uint256 id = idOf(offer);
        bytes memory signed = signOffer(offer);
        vm.expectEmit(address(licenses));
        emit IERC1155.TransferSingle(address(exchange), address(0), buyer, id, 2);
        vm.prank(buyer);
        exchange.buy(offer, signed, 2);
    }

    /// Units that would not fit any more are refused, not wrapped around.
    function test_unitsDoNotWrapAround() public {
        vm.prank(address(exchange));
        licenses.issue(buyer, 1, type(uint64).max, 0, 0, false);
        vm.expectRevert(HoldingOverflow.selector);
        vm.prank(address(exchange));
        licenses.issue(buyer, 1, 1, 0, 0, false);
    }

    /// Counted uses lock a license whatever the exchange says, since unlimited use could be passed on otherwise.
    function test_countedUsesLock() public {
        vm.prank(address(exchange));
        licenses.issue(buyer, 1, 1, 0, 5, false);
        vm.assertTrue(licenses.locked(buyer, 1));
    }

    /// A license of an offer that is not transferable stays with its holder, whoever tries, one by one or in a batch.
    function test_lockedLicenseStays() public {
        Offer memory offer = anOffer();
        uint256 id = idOf(offer);
        buyAs(buyer, offer, 2);
        vm.assertTrue(licenses.locked(buyer, id));
        bytes memory reason = abi.encodeWithSelector(LicenseToken.LicenseLocked.selector, buyer, id);
        vm.expectRevert(reason);
        give(buyer, other, id, 1);
        vm.expectRevert(reason);
        give(buyer, other, id, 0);
        (uint256[] memory ids, uint256[] memory values) = pair(id, 1, id, 1);
        vm.expectRevert(reason);
        vm.prank(buyer);
        licenses.safeBatchTransferFrom(buyer, other, ids, values, "");
        vm.prank(buyer);
        licenses.setApprovalForAll(relayer, true);
        vm.expectRevert(reason);
        vm.prank(relayer);
        licenses.safeTransferFrom(buyer, other, id, 1, "");
    }

    /// A transferred unit takes its part of the remaining term along.
    function test_transferSharesTheTerm() public {
        Offer memory offer = transferableOffer();
        uint256 id = idOf(offer);
        buyAs(buyer, offer, 4);
        vm.warp(START + 2 * YEAR);
        vm.expectEmit(address(licenses));
        emit LicenseToken.TermMoved(
            id, buyer, other, uint64(START) + 2 * YEAR + YEAR * 3 / 2, uint64(START) + 2 * YEAR + YEAR / 2
        );
        vm.expectEmit(address(licenses));
        emit IERC1155.TransferSingle(buyer, buyer, other, id, 1);
        give(buyer, other, id, 1);
        vm.assertEq(licenses.balanceOf(buyer, id), 3);
        vm.assertEq(licenses.balanceOf(other, id), 1);
        vm.assertTrue(licenses.isEntitled(other, id));
    }

    /// Whatever is transferred when: units are kept, the term's total never grows, and the recipient loses nothing.
    function testFuzz_transfersConserve(uint64 first, uint64 second, uint64 moved, uint32 wait, uint32 duration)
        public
    {
        Offer memory offer = transferableOffer();
        (offer.unitPrice, offer.duration) = (0, uint64(bound(duration, 1, 10 * YEAR)));
        uint256 id = idOf(offer);
        (first, second) = (uint64(bound(first, 1, 1e6)), uint64(bound(second, 0, 1e6)));
        buyAs(buyer, offer, first);
        if (second != 0) buyAs(other, offer, second);
        vm.warp(START + wait);
        uint256 before = left(buyer, id) + left(other, id);
        (uint64 giving, uint64 having) = (expiryOf(buyer, id), expiryOf(other, id));
        moved = uint64(bound(moved, 0, first));
        give(buyer, other, id, moved);
        vm.assertEq(licenses.balanceOf(buyer, id), first - moved);
        vm.assertEq(licenses.balanceOf(other, id), second + moved);
        vm.assertLe(left(buyer, id) + left(other, id), before);
        vm.assertGe(expiryOf(other, id), having);
        vm.assertLe(expiryOf(buyer, id), giving);
        vm.assertLe(before, left(buyer, id) + left(other, id) + 1);
    }

    /// A license whose term has ended does not come to life by being passed on, however often and to whomever.
    function test_endedLicenseStaysEnded() public {
        Offer memory offer = transferableOffer();
        uint256 id = idOf(offer);
        uint64 expiry = buyAs(buyer, offer, 3);
        vm.warp(uint256(expiry) + 1);
        give(buyer, other, id, 2);
        vm.assertFalse(licenses.isEntitled(other, id));
        vm.assertFalse(licenses.isEntitled(buyer, id));
        give(other, buyer, id, 2);
        vm.assertFalse(licenses.isEntitled(buyer, id));
    }

    /// A term splits into parts that end no later than before; splitting it cannot prolong anybody's use.
    function test_splittingDoesNotProlong() public {
        Offer memory offer = transferableOffer();
        uint256 id = idOf(offer);
        uint64 expiry = buyAs(buyer, offer, 2);
        for (uint256 i = 0; i < 20; ++i) {
            give(i % 2 == 0 ? buyer : other, i % 2 == 0 ? other : buyer, id, 1);
        }
        vm.assertLe(left(buyer, id) + left(other, id), expiry - START);
    }

    /// A perpetual license stays perpetual on both sides, and nothing stays where no unit does.
    function test_perpetualStaysPerpetual() public {
        Offer memory offer = transferableOffer();
        offer.duration = 0;
        uint256 id = idOf(offer);
        buyAs(buyer, offer, 2);
        give(buyer, other, id, 1);
        vm.assertEq(expiryOf(buyer, id), type(uint64).max);
        vm.assertEq(expiryOf(other, id), type(uint64).max);
        give(buyer, other, id, 1);
        vm.assertEq(expiryOf(buyer, id), 0);
        vm.assertFalse(licenses.isEntitled(buyer, id));
    }

    /// Passing units to oneself changes neither units nor term.
    function testFuzz_selfTransferChangesNothing(uint64 moved, uint32 wait) public {
        Offer memory offer = transferableOffer();
        uint256 id = idOf(offer);
        buyAs(buyer, offer, 7);
        vm.warp(START + bound(wait, 0, 6 * YEAR));
        uint64 expiry = expiryOf(buyer, id);
        give(buyer, buyer, id, bound(moved, 0, 7));
        vm.assertEq(licenses.balanceOf(buyer, id), 7);
        vm.assertEq(expiryOf(buyer, id), expiry);
    }

    /// Nobody gives more than they have, or nothing to somebody as if it were a license.
    function test_transferIsCovered() public {
        Offer memory offer = transferableOffer();
        uint256 id = idOf(offer);
        buyAs(buyer, offer, 2);
        vm.expectRevert(abi.encodeWithSelector(IERC1155Errors.ERC1155InsufficientBalance.selector, buyer, 2, 3, id));
        give(buyer, other, id, 3);
        uint256 wrapped = (1 << 64) + 1;
        vm.expectRevert(
            abi.encodeWithSelector(IERC1155Errors.ERC1155InsufficientBalance.selector, buyer, 2, wrapped, id)
        );
        give(buyer, other, id, wrapped);
        give(buyer, other, id, 0);
        vm.assertEq(expiryOf(other, id), 0);
    }

    /// A batch moves each license with its term, the same one twice as well.
    function test_batchMovesEach() public {
        Offer memory offer = transferableOffer();
        Offer memory second = transferableOffer();
        second.salt = "second";
        (uint256 id, uint256 id2) = (idOf(offer), idOf(second));
        buyAs(buyer, offer, 3);
        buyAs(buyer, second, 1);
        (uint256[] memory ids, uint256[] memory values) = pair(id, 1, id2, 1);
        vm.expectEmit(address(licenses));
        emit IERC1155.TransferBatch(buyer, buyer, other, ids, values);
        vm.prank(buyer);
        licenses.safeBatchTransferFrom(buyer, other, ids, values, "");
        vm.assertEq(expiryOf(other, id), START + YEAR);
        vm.assertEq(expiryOf(other, id2), START + YEAR);
        (ids, values) = pair(id, 1, id, 1);
        vm.prank(buyer);
        licenses.safeBatchTransferFrom(buyer, other, ids, values, "");
        vm.assertEq(licenses.balanceOf(other, id), 3);
        vm.assertEq(expiryOf(other, id), START + 3 * YEAR);
        vm.assertEq(expiryOf(buyer, id), 0);
    }

    /// Lists of unequal length are refused.
    function test_unequalListsAreRefused() public {
        (uint256[] memory ids,) = pair(1, 1, 2, 2);
        vm.expectRevert(abi.encodeWithSelector(IERC1155Errors.ERC1155InvalidArrayLength.selector, 2, 1));
        vm.prank(buyer);
        licenses.safeBatchTransferFrom(buyer, other, ids, new uint256[](1), "");
    }

    /// Only the holder, or whom the holder approved, transfers.
    function test_transferNeedsApproval() public {
        Offer memory offer = transferableOffer();
        uint256 id = idOf(offer);
        buyAs(buyer, offer, 2);
        vm.expectRevert(abi.encodeWithSelector(IERC1155Errors.ERC1155MissingApprovalForAll.selector, relayer, buyer));
        vm.prank(relayer);
        licenses.safeTransferFrom(buyer, relayer, id, 1, "");
        vm.prank(buyer);
        licenses.setApprovalForAll(relayer, true);
        vm.prank(relayer);
        licenses.safeTransferFrom(buyer, other, id, 1, "");
        vm.assertEq(licenses.balanceOf(other, id), 1);
    }

    /// A smart contract receives a license only when it accepts it.
    function test_receiverMustAccept() public {
        Offer memory offer = transferableOffer();
        uint256 id = idOf(offer);
        buyAs(buyer, offer, 2);
        give(buyer, address(new Holder(true)), id, 1);
        address unwilling = address(new Holder(false));
        vm.expectRevert(abi.encodeWithSelector(IERC1155Errors.ERC1155InvalidReceiver.selector, unwilling));
        give(buyer, unwilling, id, 1);
    }

    /// A term that would reach past what a word holds is refused.
    function test_longestTermIsKept() public {
        Offer memory offer = transferableOffer();
        (offer.unitPrice, offer.duration) = (0, type(uint64).max / 2);
        uint256 id = idOf(offer);
        buyAs(buyer, offer, 1);
        buyAs(other, offer, 1);
        vm.assertEq(expiryOf(buyer, id), START + type(uint64).max / 2);
        bytes memory signed = signOffer(offer);
        vm.expectRevert(HoldingOverflow.selector);
        vm.prank(buyer);
        exchange.buy(offer, signed, 1);
        vm.expectRevert(HoldingOverflow.selector);
        give(buyer, other, id, 1);
    }

    /// The balance of a batch is that of each.
    function test_balancesInABatch() public {
        Offer memory offer = anOffer();
        buyAs(buyer, offer, 3);
        address[] memory holders = new address[](2);
        (holders[0], holders[1]) = (buyer, other);
        uint256[] memory ids = new uint256[](2);
        (ids[0], ids[1]) = (idOf(offer), idOf(offer));
        uint256[] memory balances = licenses.balanceOfBatch(holders, ids);
        vm.assertEq(balances[0], 3);
        vm.assertEq(balances[1], 0);
    }

    /// ERC-165 names what is there and nothing else; metadata lies where the constructor said.
    function test_interfacesAndMetadata() public view {
        vm.assertTrue(licenses.supportsInterface(0x01ffc9a7));
        vm.assertTrue(licenses.supportsInterface(0xd9b67a26));
        vm.assertTrue(licenses.supportsInterface(0x0e89341c));
        vm.assertFalse(licenses.supportsInterface(0xffffffff));
        vm.assertFalse(licenses.supportsInterface(0x80ac58cd));
        vm.assertEq(licenses.uri(1), "https://exchange.example/licenses/{id}.json");
        vm.assertEq(licenses.EXCHANGE(), address(exchange));
    }

    function give(address from, address to, uint256 id, uint256 units) private {
        vm.prank(from);
        licenses.safeTransferFrom(from, to, id, units, "");
    }

    function left(address holder, uint256 id) private view returns (uint256) {
        uint256 expiry = expiryOf(holder, id);
        return expiry > block.timestamp ? expiry - block.timestamp : 0;
    }

    function pair(uint256 id, uint256 value, uint256 id2, uint256 value2)
        private
        pure
        returns (uint256[] memory ids, uint256[] memory values)
    {
        (ids, values) = (new uint256[](2), new uint256[](2));
        (ids[0], ids[1], values[0], values[1]) = (id, id2, value, value2);
    }
}
