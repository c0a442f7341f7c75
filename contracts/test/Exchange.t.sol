// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {IERC1155Errors, IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Pausable} from "@openzeppelin/contracts/utils/Pausable.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {FeeCurrency, HostileCurrency, SilentCurrency} from "./support/Currencies.sol";
import {Market} from "./support/Market.sol";
import {Holder, ReentrantBuyer, Wallet} from "./support/Wallets.sol";
import {Exchange} from "../src/Exchange.sol";
import {HoldingOverflow} from "../src/licenses/Holding.sol";
import {Offer, Split} from "../src/offers/Offer.sol";

contract ExchangeTest is Market {
    /// A purchase pays provider and splits, issues the license, and says so.
    function test_buyPaysAndIssues() public {
        Offer memory offer = anOffer();
        bytes32 id = exchange.hashOffer(offer);
        bytes memory signed = signOffer(offer);
        uint64 end = uint64(START) + 3 * YEAR;
        vm.expectEmit(address(exchange));
        emit Exchange.LicenseSold(id, buyer, provider, 0, 3, 30e6, address(money), end);
        vm.prank(buyer);
        vm.assertEq(exchange.buy(offer, signed, 3), end);
        vm.assertEq(money.balanceOf(provider), 29_700_000);
        vm.assertEq(money.balanceOf(feeAccount), 300_000);
        vm.assertEq(money.balanceOf(buyer), WEALTH - 30e6);
        (uint64 units, uint64 expiry, uint64 uses) = licenses.licenseOf(buyer, uint256(id));
        vm.assertEq(units, 3);
        vm.assertEq(expiry, end);
        vm.assertEq(uses, 0);
        vm.assertTrue(licenses.isEntitled(buyer, uint256(id)));
    }

    /// Whatever the price and the shares, what the buyer pays arrives, and every share is rounded down.
    function testFuzz_everythingPaidArrives(uint256 price, uint64 units, uint16[4] memory shares) public {
        Offer memory offer = anOffer();
        units = uint64(bound(units, 1, 1000));
        offer.unitPrice = bound(price, 0, WEALTH / units);
        offer.splits = new Split[](4);
        uint256 left = 10_000;
        for (uint256 i = 0; i < 4; ++i) {
            uint16 share = uint16(bound(shares[i], 0, left));
            left -= share;
            offer.splits[i] = Split({account: address(uint160(0x1000 + i)), basisPoints: share});
        }
        buyAs(buyer, offer, units);
        uint256 paid = offer.unitPrice * units;
        uint256 sum = money.balanceOf(provider);
        for (uint256 i = 0; i < 4; ++i) {
            uint256 got = money.balanceOf(offer.splits[i].account);
            vm.assertEq(got, paid * offer.splits[i].basisPoints / 10_000);
            sum += got;
        }
        vm.assertEq(sum, paid);
        vm.assertEq(money.balanceOf(buyer), WEALTH - paid);
        vm.assertEq(money.balanceOf(address(exchange)), 0);
    }

    /// A renewal adds to a term that runs, and starts a term that has ended from now.
    function test_renewalExtendsTheTerm() public {
        Offer memory offer = anOffer();
        buyAs(buyer, offer, 1);
        vm.warp(START + 100 days);
        vm.assertEq(buyAs(buyer, offer, 1), START + 2 * YEAR);
        vm.warp(START + 3 * YEAR);
        vm.assertFalse(licenses.isEntitled(buyer, idOf(offer)));
        vm.assertEq(buyAs(buyer, offer, 1), START + 4 * YEAR);
        vm.assertEq(licenses.balanceOf(buyer, idOf(offer)), 3);
    }

    /// A license counts through the last second of its term.
    function test_termEndsWithItsLastSecond() public {
        Offer memory offer = anOffer();
        uint64 expiry = buyAs(buyer, offer, 1);
        vm.warp(expiry);
        vm.assertTrue(licenses.isEntitled(buyer, idOf(offer)));
        vm.warp(uint256(expiry) + 1);
        vm.assertFalse(licenses.isEntitled(buyer, idOf(offer)));
    }

    /// Duration 0 is a license for ever, also after buying more.
    function test_perpetualNeverEnds() public {
        Offer memory offer = anOffer();
        offer.duration = 0;
        vm.assertEq(buyAs(buyer, offer, 1), type(uint64).max);
        vm.assertEq(buyAs(buyer, offer, 5), type(uint64).max);
        vm.warp(type(uint64).max);
        vm.assertTrue(licenses.isEntitled(buyer, idOf(offer)));
    }

    /// Every unit grants the offer's uses.
    function test_unitsGrantUses() public {
        Offer memory offer = anOffer();
        offer.uses = 50;
        buyAs(buyer, offer, 2);
        buyAs(buyer, offer, 1);
        (,, uint64 uses) = licenses.licenseOf(buyer, idOf(offer));
        vm.assertEq(uses, 150);
    }

    /// A free offer moves no money, and needs no currency at all.
    function test_freeOfferMovesNoMoney() public {
        Offer memory offer = anOffer();
        (offer.unitPrice, offer.currency) = (0, address(0));
        buyAs(buyer, offer, 1);
        vm.assertEq(licenses.balanceOf(buyer, idOf(offer)), 1);
        vm.assertEq(money.balanceOf(buyer), WEALTH);
    }

    /// A limited supply is sold to its last unit and not one more.
    function test_supplyIsNeverExceeded() public {
        Offer memory offer = anOffer();
        offer.supply = 3;
        buyAs(buyer, offer, 2);
        refuse(offer, 2, abi.encodeWithSelector(Exchange.SupplyExceeded.selector, idOf(offer), 1));
        buyAs(other, offer, 1);
        refuse(offer, 1, abi.encodeWithSelector(Exchange.SupplyExceeded.selector, idOf(offer), 0));
        (bool cancelled, uint64 sold) = exchange.offerState(exchange.hashOffer(offer));
        vm.assertFalse(cancelled);
        vm.assertEq(sold, 3);
    }

    /// Zero units cannot be bought.
    function test_noUnitsAreRefused() public {
        refuse(anOffer(), 0, abi.encodeWithSelector(Exchange.NoUnits.selector));
    }

    /// An offer can be bought in its last second and not after it.
    function test_offerEndsWithItsLastSecond() public {
        Offer memory offer = anOffer();
        vm.warp(offer.validUntil);
        buyAs(buyer, offer, 1);
        vm.warp(uint256(offer.validUntil) + 1);
        refuse(offer, 1, abi.encodeWithSelector(Exchange.OfferExpired.selector, idOf(offer), offer.validUntil));
    }

    /// What the exchange cannot do yet it does not sell: required claims.
    function testFuzz_requirementsAreRefused(uint256 mask) public {
        Offer memory offer = anOffer();
        offer.requires = bound(mask, 1, type(uint256).max);
        refuse(offer, 1, abi.encodeWithSelector(Exchange.RequirementsUnsupported.selector, offer.requires));
    }

    /// What the exchange cannot do yet it does not sell: escrow.
    function testFuzz_escrowIsRefused(uint64 time) public {
        Offer memory offer = anOffer();
        offer.escrow = uint64(bound(time, 1, type(uint64).max));
        refuse(offer, 1, abi.encodeWithSelector(Exchange.EscrowUnsupported.selector, offer.escrow));
    }

    /// Counted uses cannot be passed on.
    function test_transferableUsesAreRefused() public {
        Offer memory offer = transferableOffer();
        offer.uses = 1;
        refuse(offer, 1, abi.encodeWithSelector(Exchange.UsesNotTransferable.selector));
    }

    /// Splits may take the whole price and no more, also of a free offer.
    function test_splitsCannotExceedThePrice() public {
        Offer memory offer = anOffer();
        offer.splits[0].basisPoints = 10_000;
        buyAs(buyer, offer, 1);
        vm.assertEq(money.balanceOf(provider), 0);
        offer.splits[0].basisPoints = 10_001;
        refuse(offer, 1, abi.encodeWithSelector(Exchange.SplitsExceedPrice.selector, 10_001));
        offer.unitPrice = 0;
        refuse(offer, 1, abi.encodeWithSelector(Exchange.SplitsExceedPrice.selector, 10_001));
    }

    /// No share can be sent to the exchange, where it would be stuck.
    function test_splitToTheExchangeIsRefused() public {
        Offer memory offer = anOffer();
        offer.splits[0].account = address(exchange);
        refuse(offer, 1, abi.encodeWithSelector(Exchange.SplitToExchange.selector));
    }

    /// A price or a grant beyond what the words hold is refused, not wrapped around.
    function test_overflowsAreRefused() public {
        Offer memory offer = anOffer();
        offer.unitPrice = type(uint256).max;
        refuse(offer, 2, abi.encodeWithSignature("Panic(uint256)", 0x11));
        offer.unitPrice = 0;
        offer.duration = type(uint64).max;
        refuse(offer, 1, abi.encodeWithSelector(HoldingOverflow.selector));
        (offer.duration, offer.uses) = (1, type(uint64).max);
        refuse(offer, 2, abi.encodeWithSelector(HoldingOverflow.selector));
    }

    /// Nobody but the provider can have signed.
    function test_foreignSignatureIsRefused() public {
        Offer memory offer = anOffer();
        bytes memory signed = signHash(OTHER_KEY, exchange.hashOffer(offer));
        vm.expectRevert(abi.encodeWithSelector(Exchange.InvalidProviderSignature.selector, provider));
        vm.prank(buyer);
        exchange.buy(offer, signed, 1);
    }

    /// A signature counts for the very offer that was signed.
    function testFuzz_changedOfferIsRefused(uint256 price) public {
        Offer memory offer = anOffer();
        vm.assume(price != offer.unitPrice);
        bytes memory signed = signOffer(offer);
        offer.unitPrice = price;
        vm.expectRevert(abi.encodeWithSelector(Exchange.InvalidProviderSignature.selector, provider));
        vm.prank(buyer);
        exchange.buy(offer, signed, 1);
    }

    /// A signature counts on one chain and one exchange.
    function test_signatureCountsInOnePlace() public {
        Offer memory offer = anOffer();
        bytes memory signed = signOffer(offer);
        Exchange second = Exchange(deploy("Exchange", abi.encode(operator, "")));
        vm.expectRevert(abi.encodeWithSelector(Exchange.InvalidProviderSignature.selector, provider));
        second.buy(offer, signed, 1);
        vm.chainId(7);
        vm.expectRevert(abi.encodeWithSelector(Exchange.InvalidProviderSignature.selector, provider));
        exchange.buy(offer, signed, 1);
    }

    /// A malformed or empty signature is refused, also for the zero address.
    function testFuzz_garbageSignatureIsRefused(bytes calldata garbage) public {
        Offer memory offer = anOffer();
        vm.expectRevert(abi.encodeWithSelector(Exchange.InvalidProviderSignature.selector, provider));
        exchange.buy(offer, garbage, 1);
        offer.provider = address(0);
        vm.expectRevert(abi.encodeWithSelector(Exchange.InvalidProviderSignature.selector, address(0)));
        exchange.buy(offer, garbage, 1);
    }

    /// A company sells through its smart account (ERC-1271), as long as the account agrees.
    function test_smartAccountsSell() public {
        Wallet wallet = new Wallet(provider);
        Offer memory offer = anOffer();
        offer.provider = address(wallet);
        buyAs(buyer, offer, 1);
        vm.assertEq(money.balanceOf(address(wallet)), 9_900_000);
        wallet.revoke();
        refuse(offer, 1, abi.encodeWithSelector(Exchange.InvalidProviderSignature.selector, address(wallet)));
    }

    /// Without money there is no license.
    function test_noMoneyNoLicense() public {
        Offer memory offer = anOffer();
        offer.unitPrice = WEALTH + 1;
        offer.splits = new Split[](0);
        refuse(
            offer, 1, abi.encodeWithSelector(IERC20Errors.ERC20InsufficientBalance.selector, buyer, WEALTH, WEALTH + 1)
        );
        vm.assertEq(licenses.balanceOf(buyer, idOf(offer)), 0);
    }

    /// Without an allowance there is no license.
    function test_noAllowanceNoLicense() public {
        Offer memory offer = anOffer();
        offer.splits = new Split[](0);
        vm.prank(buyer);
        money.approve(address(exchange), 10e6 - 1);
        refuse(
            offer,
            1,
            abi.encodeWithSelector(IERC20Errors.ERC20InsufficientAllowance.selector, address(exchange), 10e6 - 1, 10e6)
        );
    }

    /// A currency that fails without reverting, or that is not there, sells nothing.
    function test_falseAndMissingCurrenciesSellNothing() public {
        Offer memory offer = anOffer();
        offer.currency = address(new SilentCurrency());
        refuse(offer, 1, abi.encodeWithSelector(SafeERC20.SafeERC20FailedOperation.selector, offer.currency));
        offer.currency = named("nothing here");
        refuse(offer, 1, abi.encodeWithSelector(SafeERC20.SafeERC20FailedOperation.selector, offer.currency));
    }

    /// A currency that keeps a part of each transfer costs its recipients, never the exchange.
    function test_feeOnTransferLeavesTheExchangeEven() public {
        FeeCurrency currency = new FeeCurrency(operator);
        vm.prank(operator);
        currency.issue(buyer, 10e6);
        vm.prank(buyer);
        currency.approve(address(exchange), 10e6);
        Offer memory offer = anOffer();
        offer.currency = address(currency);
        buyAs(buyer, offer, 1);
        vm.assertEq(currency.balanceOf(provider), 8_910_000);
        vm.assertEq(currency.balanceOf(feeAccount), 90_000);
        vm.assertEq(currency.balanceOf(address(exchange)), 0);
    }

    /// A buyer that is a smart contract cannot buy again from inside its purchase.
    function test_reentrantBuyerIsRefused() public {
        ReentrantBuyer hostile = new ReentrantBuyer(exchange);
        enrich(address(hostile));
        Offer memory offer = anOffer();
        bytes memory signed = signOffer(offer);
        vm.expectRevert(ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector);
        hostile.buy(offer, signed);
    }

    /// A currency cannot buy from inside a payment; cancelling from there is allowed and harms nobody.
    function test_hostileCurrencyCannotReenter() public {
        HostileCurrency currency = new HostileCurrency(operator);
        vm.prank(operator);
        currency.issue(buyer, 10e6);
        vm.prank(buyer);
        currency.approve(address(exchange), 10e6);
        Offer memory offer = anOffer();
        offer.currency = address(currency);
        currency.plan(address(exchange), abi.encodeCall(Exchange.buy, (offer, signOffer(offer), 1)));
        refuse(offer, 1, abi.encodeWithSelector(ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector));
        bytes32 id = exchange.hashOffer(offer);
        currency.plan(
            address(exchange), abi.encodeCall(Exchange.cancelWithSignature, (offer, signCancel(PROVIDER_KEY, id)))
        );
        buyAs(buyer, offer, 1);
        (bool cancelled,) = exchange.offerState(id);
        vm.assertTrue(cancelled);
    }

    /// A buyer that is a smart contract receives a license when it accepts ERC-1155 tokens, and pays nothing otherwise.
    function test_unwillingHolderPaysNothing() public {
        Offer memory offer = anOffer();
        address willing = address(new Holder(true));
        address unwilling = address(new Holder(false));
        enrich(willing);
        enrich(unwilling);
        buyAs(willing, offer, 1);
        bytes memory signed = signOffer(offer);
        vm.expectRevert(abi.encodeWithSelector(IERC1155Errors.ERC1155InvalidReceiver.selector, unwilling));
        vm.prank(unwilling);
        exchange.buy(offer, signed, 1);
        vm.assertEq(money.balanceOf(unwilling), WEALTH);
    }

    /// The owner can stop and resume sales, and nobody else can.
    function test_pauseStopsSales() public {
        Offer memory offer = anOffer();
        vm.prank(operator);
        exchange.pause();
        refuse(offer, 1, abi.encodeWithSelector(Pausable.EnforcedPause.selector));
        vm.prank(operator);
        exchange.unpause();
        buyAs(buyer, offer, 1);
        vm.expectRevert(abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, buyer));
        vm.prank(buyer);
        exchange.pause();
        vm.expectRevert(abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, buyer));
        vm.prank(buyer);
        exchange.unpause();
    }

    /// Ownership passes only to somebody who takes it.
    function test_ownershipPassesInTwoSteps() public {
        vm.prank(operator);
        exchange.transferOwnership(other);
        vm.assertEq(exchange.owner(), operator);
        vm.prank(other);
        exchange.acceptOwnership();
        vm.assertEq(exchange.owner(), other);
    }
}
