// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Market} from "./support/Market.sol";
import {Wallet} from "./support/Wallets.sol";
import {Exchange} from "../src/Exchange.sol";
import {Offer} from "../src/offers/Offer.sol";

contract CancelTest is Market {
    /// A provider withdraws an offer; it cannot be bought any more, and licenses sold before stay.
    function test_cancelledOfferIsNotSold() public {
        Offer memory offer = anOffer();
        bytes32 id = exchange.hashOffer(offer);
        buyAs(buyer, offer, 1);
        vm.expectEmit(address(exchange));
        emit Exchange.OfferCancelled(id, provider);
        vm.prank(provider);
        exchange.cancel(offer);
        refuse(offer, 1, abi.encodeWithSelector(Exchange.OfferIsCancelled.selector, id));
        vm.assertTrue(licenses.isEntitled(buyer, uint256(id)));
        (bool cancelled,) = exchange.offerState(id);
        vm.assertTrue(cancelled);
    }

    /// Nobody else can withdraw an offer, the exchange's owner included.
    function testFuzz_onlyTheProviderCancels(address who) public {
        Offer memory offer = anOffer();
        vm.assume(who != provider);
        vm.expectRevert(abi.encodeWithSelector(Exchange.NotProvider.selector, who));
        vm.prank(who);
        exchange.cancel(offer);
        vm.expectRevert(abi.encodeWithSelector(Exchange.NotProvider.selector, operator));
        vm.prank(operator);
        exchange.cancel(offer);
    }

    /// A provider without gas signs the withdrawal, and anyone may bring it.
    function test_signatureCancels() public {
        Offer memory offer = anOffer();
        bytes32 id = exchange.hashOffer(offer);
        bytes memory signed = signCancel(PROVIDER_KEY, id);
        vm.expectEmit(address(exchange));
        emit Exchange.OfferCancelled(id, provider);
        vm.prank(relayer);
        exchange.cancelWithSignature(offer, signed);
        refuse(offer, 1, abi.encodeWithSelector(Exchange.OfferIsCancelled.selector, id));
    }

    /// Only a withdrawal of this offer by its provider counts: not its listing, not another's signature.
    function test_otherSignaturesDoNotCancel() public {
        Offer memory offer = anOffer();
        bytes32 id = exchange.hashOffer(offer);
        bytes[3] memory wrong = [signOffer(offer), signCancel(OTHER_KEY, id), signCancel(PROVIDER_KEY, "another")];
        for (uint256 i = 0; i < wrong.length; ++i) {
            vm.expectRevert(abi.encodeWithSelector(Exchange.InvalidProviderSignature.selector, provider));
            exchange.cancelWithSignature(offer, wrong[i]);
        }
    }

    /// A smart account withdraws by the signature it accepts (ERC-1271).
    function test_smartAccountsCancel() public {
        Offer memory offer = anOffer();
        offer.provider = address(new Wallet(provider));
        bytes32 id = exchange.hashOffer(offer);
        exchange.cancelWithSignature(offer, signCancel(PROVIDER_KEY, id));
        (bool cancelled,) = exchange.offerState(id);
        vm.assertTrue(cancelled);
    }

    /// Withdrawing works while sales are paused, by both ways.
    function test_cancelWorksWhilePaused() public {
        vm.prank(operator);
        exchange.pause();
        Offer memory offer = anOffer();
        vm.prank(provider);
        exchange.cancel(offer);
        offer.salt = "second";
        exchange.cancelWithSignature(offer, signCancel(PROVIDER_KEY, exchange.hashOffer(offer)));
        (bool cancelled,) = exchange.offerState(exchange.hashOffer(offer));
        vm.assertTrue(cancelled);
    }

    /// An offer is withdrawn once; the second time says so.
    function test_cancelledOfferStaysCancelled() public {
        Offer memory offer = anOffer();
        bytes32 id = exchange.hashOffer(offer);
        vm.prank(provider);
        exchange.cancel(offer);
        vm.expectRevert(abi.encodeWithSelector(Exchange.OfferIsCancelled.selector, id));
        vm.prank(provider);
        exchange.cancel(offer);
        bytes memory signed = signCancel(PROVIDER_KEY, id);
        vm.expectRevert(abi.encodeWithSelector(Exchange.OfferIsCancelled.selector, id));
        exchange.cancelWithSignature(offer, signed);
    }

    /// Withdrawing keeps the count of what was sold.
    function test_cancelKeepsTheCount() public {
        Offer memory offer = anOffer();
        offer.supply = 10;
        buyAs(buyer, offer, 4);
        vm.prank(provider);
        exchange.cancel(offer);
        (bool cancelled, uint64 sold) = exchange.offerState(exchange.hashOffer(offer));
        vm.assertTrue(cancelled);
        vm.assertEq(sold, 4);
    }
}
