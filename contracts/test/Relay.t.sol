// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {ERC3009} from "@openzeppelin/contracts/token/ERC20/extensions/draft-ERC3009.sol";
import {Pausable} from "@openzeppelin/contracts/utils/Pausable.sol";
import {FeeCurrency} from "./support/Currencies.sol";
import {Market} from "./support/Market.sol";
import {Exchange} from "../src/Exchange.sol";
import {Offer} from "../src/offers/Offer.sol";
import {Purchase} from "../src/offers/Purchase.sol";

contract RelayTest is Market {
    /// A relayed purchase takes the buyer's money and gives the license to the buyer, whoever brings it.
    function test_relayedPurchaseServesTheBuyer() public {
        Offer memory offer = anOffer();
        Purchase memory purchase = aPurchase(2);
        bytes memory signed = signOffer(offer);
        bytes memory payment = signPayment(BUYER_KEY, offer, purchase);
        bytes32 order = orderOf(offer, purchase);
        uint64 end = uint64(START) + 2 * YEAR;
        vm.expectEmit(address(exchange));
        emit Exchange.LicenseSold(bytes32(idOf(offer)), buyer, provider, order, 2, 20e6, address(money), end);
        vm.prank(relayer);
        vm.assertEq(exchange.buyWithAuthorization(offer, signed, purchase, payment), end);
        vm.assertEq(licenses.balanceOf(buyer, idOf(offer)), 2);
        vm.assertEq(licenses.balanceOf(relayer, idOf(offer)), 0);
        vm.assertEq(money.balanceOf(provider), 19_800_000);
        vm.assertEq(money.balanceOf(feeAccount), 200_000);
        vm.assertEq(money.balanceOf(buyer), WEALTH - 20e6);
        vm.assertEq(money.balanceOf(address(exchange)), 0);
        vm.assertTrue(money.authorizationState(buyer, order));
    }

    /// The allowance given to the exchange plays no part.
    function test_relayedPurchaseNeedsNoAllowance() public {
        vm.prank(buyer);
        money.approve(address(exchange), 0);
        relay(anOffer(), aPurchase(1));
        vm.assertEq(licenses.balanceOf(buyer, idOf(anOffer())), 1);
    }

    /// The same order is filled once.
    function test_orderIsFilledOnce() public {
        Offer memory offer = anOffer();
        Purchase memory purchase = aPurchase(1);
        relay(offer, purchase);
        refuseRelay(
            offer,
            purchase,
            signPayment(BUYER_KEY, offer, purchase),
            abi.encodeWithSelector(ERC3009.ERC3009UsedAuthorization.selector, buyer, orderOf(offer, purchase))
        );
    }

    /// A relayer cannot change buyer, units, salt or time of what was signed.
    function testFuzz_relayerCanChangeNothing(Purchase memory changed) public {
        Offer memory offer = anOffer();
        Purchase memory purchase = aPurchase(1);
        changed.units = uint64(bound(changed.units, 1, 1000));
        vm.assume(keccak256(abi.encode(changed)) != keccak256(abi.encode(purchase)));
        bytes memory signed = signOffer(offer);
        bytes memory payment = signPayment(BUYER_KEY, offer, purchase);
        vm.expectRevert(ERC3009.ERC3009InvalidSignature.selector);
        vm.prank(relayer);
        exchange.buyWithAuthorization(offer, signed, changed, payment);
    }

    /// A relayer cannot use a payment for one field of the order changed at a time, or for another offer.
    function testFuzz_relayerCannotSwapOneThing(uint256 which, uint256 change) public {
        Offer memory offer = anOffer();
        Purchase memory purchase = aPurchase(1);
        bytes memory payment = signPayment(BUYER_KEY, offer, purchase);
        which = bound(which, 0, 5);
        if (which == 0) purchase.buyer = other;
        if (which == 1) purchase.units = uint64(bound(change, 2, 1000));
        if (which == 2) purchase.salt = bytes32(bound(change, 0, type(uint128).max));
        if (which == 3) purchase.validAfter = bound(change, 1, START - 1);
        if (which == 4) purchase.validBefore = bound(change, START + 1, type(uint48).max - 1);
        if (which == 5) offer.salt = bytes32(bound(change, 0, type(uint128).max));
        bytes memory signed = signOffer(offer);
        vm.expectRevert(ERC3009.ERC3009InvalidSignature.selector);
        vm.prank(relayer);
        exchange.buyWithAuthorization(offer, signed, purchase, payment);
    }

    /// The payment cannot be taken past the exchange, by anyone.
    function test_paymentCannotBeTakenElsewhere() public {
        Offer memory offer = anOffer();
        Purchase memory purchase = aPurchase(1);
        bytes memory payment = signPayment(BUYER_KEY, offer, purchase);
        (bytes32 r, bytes32 s, uint8 v) = parts(payment);
        bytes32 order = orderOf(offer, purchase);
        vm.expectRevert(abi.encodeWithSelector(IERC20Errors.ERC20InvalidReceiver.selector, address(exchange)));
        vm.prank(relayer);
        money.receiveWithAuthorization(buyer, address(exchange), 10e6, 0, type(uint48).max, order, v, r, s);
        vm.expectRevert(ERC3009.ERC3009InvalidSignature.selector);
        vm.prank(relayer);
        money.transferWithAuthorization(buyer, address(exchange), 10e6, 0, type(uint48).max, order, v, r, s);
    }

    /// Somebody else's signature pays for nothing.
    function test_foreignPaymentIsRefused() public {
        Offer memory offer = anOffer();
        Purchase memory purchase = aPurchase(1);
        refuseRelay(
            offer,
            purchase,
            signPayment(OTHER_KEY, offer, purchase),
            abi.encodeWithSelector(ERC3009.ERC3009InvalidSignature.selector)
        );
    }

    /// The payment's time window is kept.
    function test_paymentWindowIsKept() public {
        Offer memory offer = anOffer();
        Purchase memory early = aPurchase(1);
        early.validAfter = START;
        refuseRelay(offer, early, signPayment(BUYER_KEY, offer, early), untimely(early));
        Purchase memory late = aPurchase(1);
        late.validBefore = START;
        refuseRelay(offer, late, signPayment(BUYER_KEY, offer, late), untimely(late));
    }

    /// A signature that is not r, s and v is refused before anything is paid.
    function testFuzz_signatureHasOneLength(bytes calldata garbage) public {
        vm.assume(garbage.length != 65);
        refuseRelay(anOffer(), aPurchase(1), garbage, abi.encodeWithSelector(Exchange.InvalidBuyerSignature.selector));
    }

    /// A free license needs the buyer's consent too, and one consent gives one license.
    function test_freeOfferNeedsConsent() public {
        Offer memory offer = anOffer();
        offer.unitPrice = 0;
        Purchase memory purchase = aPurchase(1);
        refuseRelay(
            offer,
            purchase,
            signPayment(OTHER_KEY, offer, purchase),
            abi.encodeWithSelector(ERC3009.ERC3009InvalidSignature.selector)
        );
        relay(offer, purchase);
        vm.assertEq(licenses.balanceOf(buyer, idOf(offer)), 1);
        refuseRelay(
            offer,
            purchase,
            signPayment(BUYER_KEY, offer, purchase),
            abi.encodeWithSelector(ERC3009.ERC3009UsedAuthorization.selector, buyer, orderOf(offer, purchase))
        );
    }

    /// Where there is no currency there is no relayed purchase.
    function test_missingCurrencyIsRefused() public {
        Offer memory offer = anOffer();
        offer.currency = named("nothing here");
        refuseRelay(
            offer,
            aPurchase(1),
            new bytes(65),
            abi.encodeWithSelector(Exchange.CurrencyMissing.selector, offer.currency)
        );
    }

    /// A buyer without the money gets nothing.
    function test_noMoneyNoLicense() public {
        Offer memory offer = anOffer();
        offer.unitPrice = WEALTH + 1;
        Purchase memory purchase = aPurchase(1);
        refuseRelay(
            offer,
            purchase,
            signPayment(BUYER_KEY, offer, purchase),
            abi.encodeWithSelector(IERC20Errors.ERC20InsufficientBalance.selector, buyer, WEALTH, WEALTH + 1)
        );
        vm.assertEq(licenses.balanceOf(buyer, idOf(offer)), 0);
    }

    /// A currency that keeps a part of each transfer cannot be paid out in full, so nothing is sold.
    function test_feeOnTransferIsRefused() public {
        FeeCurrency currency = new FeeCurrency(operator);
        vm.prank(operator);
        currency.issue(buyer, 10e6);
        Offer memory offer = anOffer();
        offer.currency = address(currency);
        Purchase memory purchase = aPurchase(1);
        bytes memory signed = signOffer(offer);
        bytes memory payment = signPayment(BUYER_KEY, offer, purchase);
        vm.expectRevert(
            abi.encodeWithSelector(
                IERC20Errors.ERC20InsufficientBalance.selector, address(exchange), 7_910_000, 8_910_000
            )
        );
        exchange.buyWithAuthorization(offer, signed, purchase, payment);
        vm.assertEq(currency.balanceOf(buyer), 10e6);
    }

    /// What a direct purchase refuses a relayed one refuses too.
    function test_relayRefusesWhatBuyRefuses() public {
        Offer memory offer = anOffer();
        offer.supply = 1;
        Purchase memory purchase = aPurchase(2);
        bytes memory payment = signPayment(BUYER_KEY, offer, purchase);
        refuseRelay(offer, purchase, payment, abi.encodeWithSelector(Exchange.SupplyExceeded.selector, idOf(offer), 1));
        vm.prank(operator);
        exchange.pause();
        refuseRelay(offer, purchase, payment, abi.encodeWithSelector(Pausable.EnforcedPause.selector));
    }

    function refuseRelay(Offer memory offer, Purchase memory purchase, bytes memory payment, bytes memory reason)
        private
    {
        bytes memory signed = signOffer(offer);
        vm.expectRevert(reason);
        vm.prank(relayer);
        exchange.buyWithAuthorization(offer, signed, purchase, payment);
    }

    function untimely(Purchase memory purchase) private pure returns (bytes memory) {
        return abi.encodeWithSelector(
            ERC3009.ERC3009InvalidAuthorizationTime.selector, purchase.validAfter, purchase.validBefore
        );
    }

    function parts(bytes memory signed) private pure returns (bytes32 r, bytes32 s, uint8 v) {
        assembly ("memory-safe") {
            r := mload(add(signed, 0x20))
            s := mload(add(signed, 0x40))
            v := byte(0, mload(add(signed, 0x60)))
        }
    }
}
