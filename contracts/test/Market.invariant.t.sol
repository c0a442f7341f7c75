// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Market} from "./support/Market.sol";
import {Traders} from "./support/Traders.sol";
import {Offer} from "../src/offers/Offer.sol";

/// @dev What holds whatever people do, in whatever order.
contract MarketInvariantTest is Market {
    Traders private traders;

    function setUp() public override {
        traders = new Traders();
        exchange = traders.market();
        licenses = traders.token();
        bytes4[] memory acts = new bytes4[](9);
        acts[0] = Traders.buy.selector;
        acts[1] = Traders.relay.selector;
        acts[2] = Traders.replay.selector;
        acts[3] = Traders.cheat.selector;
        acts[4] = Traders.forge.selector;
        acts[5] = Traders.give.selector;
        acts[6] = Traders.cancel.selector;
        acts[7] = Traders.pause.selector;
        acts[8] = Traders.wait.selector;
        target(address(traders), acts);
    }

    /// What buyers paid is what provider and splits received, to the last unit, and the exchange keeps nothing.
    function invariant_moneyInIsMoneyOut() public view {
        uint256 paid = 0;
        for (uint256 i = 0; i < traders.PEOPLE(); ++i) {
            address who = traders.person(i);
            vm.assertEq(traders.balance(who), WEALTH - traders.spent(who));
            paid += traders.spent(who);
        }
        vm.assertEq(traders.earned(), paid);
        vm.assertEq(traders.balance(address(exchange)), 0);
        vm.assertEq(traders.issued(), WEALTH * (traders.PEOPLE() + 2));
    }

    /// Everybody owns what they paid for or were given: no license without payment, no payment without license; the
    /// expiry is what paying and giving made it; supply and uses are never exceeded.
    function invariant_licensesAreWhatWasPaid() public {
        vm.warp(traders.time());
        for (uint256 i = 0;; ++i) {
            try traders.offers(i) returns (uint256 id) {
                checkOffer(id);
            } catch {
                return;
            }
        }
    }

    /// Whatever happened, the owner can stop sales and a provider can withdraw an offer.
    function invariant_cancelAndPauseWork() public {
        bool paused = exchange.paused();
        vm.prank(operator);
        paused ? exchange.unpause() : exchange.pause();
        vm.assertEq(exchange.paused(), !paused);
        Offer memory offer = anOffer();
        offer.salt = "another";
        vm.prank(provider);
        exchange.cancel(offer);
        (bool cancelled,) = exchange.offerState(exchange.hashOffer(offer));
        vm.assertTrue(cancelled);
    }

    function checkOffer(uint256 id) private view {
        uint256 sum = checkHolder(id, named("beggar"));
        for (uint256 i = 0; i < traders.PEOPLE(); ++i) {
            sum += checkHolder(id, traders.person(i));
        }
        vm.assertEq(sum, traders.sold(id), "units sold are units held");
        (, uint64 sold) = exchange.offerState(bytes32(id));
        vm.assertEq(sold, traders.supplies(id) == 0 ? 0 : sum, "sold is counted");
        if (traders.supplies(id) != 0) vm.assertLe(sum, traders.supplies(id), "supply");
    }

    function checkHolder(uint256 id, address holder) private view returns (uint256) {
        (uint256 owed, uint256 until, uint256 granted) = traders.accounts(id, holder);
        (uint64 units, uint64 expiry, uint64 uses) = licenses.licenseOf(holder, id);
        vm.assertEq(units, owed, "units");
        vm.assertEq(expiry, until, "expiry");
        vm.assertEq(uses, granted, "uses");
        vm.assertEq(uses, units * traders.usesEach(id), "uses per unit");
        vm.assertEq(licenses.isEntitled(holder, id), units != 0 && until >= block.timestamp);
        return units;
    }
}
