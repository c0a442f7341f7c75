// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Market} from "./Market.sol";
import {LicenseToken} from "../../src/LicenseToken.sol";
import {Exchange} from "../../src/Exchange.sol";
import {Offer, Split} from "../../src/offers/Offer.sol";
import {Purchase} from "../../src/offers/Purchase.sol";

/// @dev People who trade at random, and a second, plain account of what each must own and have paid.
///
/// Every act either must succeed, and is entered into the account, or must be refused, and changes nothing. Whether it
/// must succeed is decided here from the account alone.
contract Traders is Market {
    struct Account {
        uint256 units;
        uint256 expiry;
        uint256 uses;
    }

    uint256 public constant PEOPLE = 4;
    uint256 private constant KINDS = 5;
    uint256 private constant FOREVER = type(uint64).max;

    uint256[] public offers;
    mapping(uint256 id => mapping(address holder => Account)) public accounts;
    mapping(uint256 id => uint256) public sold;
    mapping(uint256 id => uint256) public supplies;
    mapping(uint256 id => uint256) public usesEach;
    mapping(address who => uint256) public spent;
    uint256 public time = START;

    address[PEOPLE] private _people;
    uint256[KINDS] private _generations;
    bytes private _lastRelayed;

    constructor() {
        setUp();
        for (uint256 i = 0; i < PEOPLE; ++i) {
            _people[i] = vm.addr(keyOf(i));
            enrich(_people[i]);
        }
        for (uint256 kind = 0; kind < KINDS; ++kind) {
            list(kind);
        }
    }

    /// @dev Somebody buys directly.
    function buy(uint256 who, uint256 kind, uint256 many) external awake {
        (Offer memory offer, uint64 units) = (offerOf(kind), uint64(bound(many, 0, 5)));
        address holder = person(who);
        bytes memory signed = signOffer(offer);
        bool sellable = canSell(offer, units);
        vm.prank(holder);
        try exchange.buy(offer, signed, units) {
            vm.assertTrue(sellable, "sold what cannot be sold");
            enter(holder, offer, units);
        } catch {
            vm.assertFalse(sellable);
        }
    }

    /// @dev Somebody signs a payment and a relayer brings it, once or twice.
    function relay(uint256 who, uint256 kind, uint256 many, bytes32 salt) external awake {
        (Offer memory offer, uint64 units) = (offerOf(kind), uint64(bound(many, 0, 5)));
        Purchase memory purchase = Purchase(person(who), units, salt, 0, type(uint48).max);
        bytes memory payment = signPayment(keyOf(who), offer, purchase);
        bytes memory asked = abi.encodeCall(Exchange.buyWithAuthorization, (offer, signOffer(offer), purchase, payment));
        bool sellable = canSell(offer, units) && !money.authorizationState(purchase.buyer, orderOf(offer, purchase));
        vm.prank(relayer);
        (bool done,) = address(exchange).call(asked);
        vm.assertEq(done, sellable);
        if (done) {
            enter(purchase.buyer, offer, units);
            _lastRelayed = asked;
        }
    }

    /// @dev Somebody brings an order again that was filled.
    function replay() external awake {
        if (_lastRelayed.length == 0) return;
        (bool done,) = address(exchange).call(_lastRelayed);
        vm.assertFalse(done);
    }

    /// @dev Somebody without money tries to buy, and somebody brings a payment that the buyer did not sign.
    function cheat(uint256 who, uint256 kind) external awake {
        Offer memory offer = offerOf(kind);
        bytes memory signed = signOffer(offer);
        vm.prank(named("beggar"));
        try exchange.buy(offer, signed, 1) {
            vm.assertEq(offer.unitPrice, 0);
            enter(named("beggar"), offer, 1);
        } catch {}
        Purchase memory purchase = Purchase(person(who), 1, "stolen", 0, type(uint48).max);
        bytes memory payment = signPayment(OTHER_KEY, offer, purchase);
        (bool done,) =
            address(exchange).call(abi.encodeCall(Exchange.buyWithAuthorization, (offer, signed, purchase, payment)));
        vm.assertFalse(done);
    }

    /// @dev Somebody presents an offer that its provider did not sign.
    function forge(uint256 who, uint256 kind, uint256 price) external awake {
        Offer memory offer = offerOf(kind);
        bytes memory signed = signOffer(offer);
        offer.unitPrice = bound(price, 0, 10) + offer.unitPrice + 1;
        vm.prank(person(who));
        (bool done,) = address(exchange).call(abi.encodeCall(Exchange.buy, (offer, signed, 1)));
        vm.assertFalse(done);
    }

    /// @dev Somebody passes licenses on; the account is kept from the words of the rule, not from the code.
    function give(uint256 from, uint256 to, uint256 kind, uint256 many) external awake {
        Offer memory offer = offerOf(kind);
        (uint256 id, address giver, address taker) = (idOf(offer), person(from), person(to));
        uint256 units = bound(many, 0, accounts[id][giver].units + 1);
        bool allowed = units <= accounts[id][giver].units && (offer.transferable || accounts[id][giver].units == 0);
        uint256 before = giver == taker ? remaining(id, giver) : remaining(id, giver) + remaining(id, taker);
        uint256 had = accounts[id][taker].expiry;
        vm.prank(giver);
        (bool done,) = address(licenses).call(abi.encodeCall(licenses.safeTransferFrom, (giver, taker, id, units, "")));
        vm.assertEq(done, allowed);
        if (!done || units == 0) return;
        uint256 part = remaining(id, giver);
        if (part != FOREVER) part = part * units / accounts[id][giver].units;
        take(accounts[id][giver], units, part);
        put(accounts[id][taker], units, part);
        if (offer.duration == 0 || giver == taker) return;
        vm.assertLe(remaining(id, giver) + remaining(id, taker), before, "term grew by a transfer");
        vm.assertGe(accounts[id][taker].expiry, had);
    }

    /// @dev The provider withdraws an offer, by itself or by signature, paused or not, and lists another.
    function cancel(uint256 kind, bool signs) external awake {
        kind = bound(kind, 0, KINDS - 1);
        if (offers.length > 12) return;
        Offer memory offer = offerOf(kind);
        bytes memory signed = signOffer(offer);
        if (signs) {
            exchange.cancelWithSignature(offer, signCancel(PROVIDER_KEY, exchange.hashOffer(offer)));
        } else {
            vm.prank(provider);
            exchange.cancel(offer);
        }
        vm.prank(person(0));
        (bool done,) = address(exchange).call(abi.encodeCall(Exchange.buy, (offer, signed, 1)));
        vm.assertFalse(done);
        ++_generations[kind];
        list(kind);
    }

    /// @dev The operator stops sales now and then, and soon resumes them.
    function pause(uint256 mood) external awake {
        bool paused = exchange.paused();
        if (!paused && bound(mood, 0, 3) != 0) return;
        vm.prank(operator);
        paused ? exchange.unpause() : exchange.pause();
        vm.assertEq(exchange.paused(), !paused);
    }

    /// @dev Time goes by.
    function wait(uint256 seconds_) external awake {
        time += bound(seconds_, 0, 20 days);
    }

    function person(uint256 who) public view returns (address) {
        return _people[bound(who, 0, PEOPLE - 1)];
    }

    function keyOf(uint256 who) private pure returns (uint256) {
        return 0x1000 + bound(who, 0, PEOPLE - 1);
    }

    /// @dev Five kinds of offers: a term, for ever, counted uses, free, and scarce.
    function offerOf(uint256 kind) private view returns (Offer memory offer) {
        kind = bound(kind, 0, KINDS - 1);
        offer = anOffer();
        offer.duration = [30 days, 0, 1 days, 10 days, 7][kind];
        offer.unitPrice = [uint256(9_999_999), 7, 123, 0, 1e9 + 1][kind];
        offer.uses = kind == 2 ? 5 : 0;
        offer.supply = [uint8(0), 0, 20, 40, 3][kind];
        offer.transferable = kind != 2 && kind != 4;
        offer.splits = new Split[](kind % 3);
        for (uint256 i = 0; i < kind % 3; ++i) {
            offer.splits[i] = Split({account: i == 0 ? feeAccount : operator, basisPoints: uint16(333 + 5000 * i)});
        }
        offer.validUntil = type(uint64).max;
        offer.salt = keccak256(abi.encode(kind, _generations[kind]));
    }

    function list(uint256 kind) private {
        Offer memory offer = offerOf(kind);
        uint256 id = idOf(offer);
        offers.push(id);
        (supplies[id], usesEach[id]) = (offer.supply, offer.uses);
    }

    function canSell(Offer memory offer, uint256 units) private view returns (bool) {
        bool left = offer.supply == 0 || sold[idOf(offer)] + units <= offer.supply;
        return units != 0 && left && !exchange.paused();
    }

    function enter(address holder, Offer memory offer, uint256 units) private {
        uint256 id = idOf(offer);
        Account storage account = accounts[id][holder];
        sold[id] += units;
        spent[holder] += units * offer.unitPrice;
        account.uses += units * offer.uses;
        put(account, units, offer.duration == 0 ? FOREVER : units * offer.duration);
    }

    function put(Account storage account, uint256 units, uint256 term) private {
        account.units += units;
        if (term == 0) return;
        uint256 start = account.expiry > time ? account.expiry : time;
        account.expiry = term == FOREVER || account.expiry == FOREVER ? FOREVER : start + term;
    }

    function take(Account storage account, uint256 units, uint256 term) private {
        account.units -= units;
        if (account.units == 0) account.expiry = 0;
        else if (account.expiry != FOREVER) account.expiry -= term;
    }

    function remaining(uint256 id, address holder) private view returns (uint256) {
        uint256 expiry = accounts[id][holder].expiry;
        if (expiry == FOREVER) return FOREVER;
        return expiry > time ? expiry - time : 0;
    }

    function token() external view returns (LicenseToken) {
        return licenses;
    }

    function market() external view returns (Exchange) {
        return exchange;
    }

    function balance(address who) external view returns (uint256) {
        return money.balanceOf(who);
    }

    function earned() external view returns (uint256) {
        return money.balanceOf(provider) + money.balanceOf(feeAccount) + money.balanceOf(operator);
    }

    function issued() external view returns (uint256) {
        return money.totalSupply();
    }

    modifier awake() {
        vm.warp(time);
        _;
    }
}
