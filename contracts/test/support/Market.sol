// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Test} from "./Test.sol";
import {Exchange} from "../../src/Exchange.sol";
import {LicenseToken} from "../../src/LicenseToken.sol";
import {SettlementToken} from "../../src/SettlementToken.sol";
import {Offer, Split} from "../../src/offers/Offer.sol";
import {Purchase} from "../../src/offers/Purchase.sol";

/// @dev An exchange with its money and a few people who have keys.
abstract contract Market is Test {
    uint256 internal constant PROVIDER_KEY = 0xA11CE;
    uint256 internal constant BUYER_KEY = 0xB0B;
    uint256 internal constant OTHER_KEY = 0xCA201;
    uint256 internal constant START = 1_800_000_000;
    uint64 internal constant YEAR = 365 days;
    uint256 internal constant WEALTH = 1e15;
    bytes32 internal constant PAYMENT_TYPEHASH = keccak256(
        "ReceiveWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"
    );

    address internal provider = vm.addr(PROVIDER_KEY);
    address internal buyer = vm.addr(BUYER_KEY);
    address internal other = vm.addr(OTHER_KEY);
    address internal operator = named("operator");
    address internal relayer = named("relayer");
    address internal feeAccount = named("fee account");

    SettlementToken internal money;
    Exchange internal exchange;
    LicenseToken internal licenses;

    function setUp() public virtual {
        vm.warp(START);
        money = SettlementToken(deploy("SettlementToken", abi.encode("Credit", "CRD", operator)));
        exchange = Exchange(deploy("Exchange", abi.encode(operator, "https://exchange.example/licenses/{id}.json")));
        licenses = exchange.LICENSES();
        enrich(buyer);
        enrich(other);
    }

    /// @dev Gives an account money and the exchange its allowance.
    function enrich(address account) internal {
        vm.prank(operator);
        money.issue(account, WEALTH);
        vm.prank(account);
        money.approve(address(exchange), type(uint256).max);
    }

    /// @dev A year for 10.00 with 1 % to the fee account, not transferable, without limits.
    function anOffer() internal view returns (Offer memory offer) {
        offer.provider = provider;
        offer.dataset = keccak256("dataset");
        offer.contentRoot = keccak256("content");
        offer.termsHash = keccak256("terms");
        offer.currency = address(money);
        offer.unitPrice = 10e6;
        offer.duration = YEAR;
        offer.splits = new Split[](1);
        offer.splits[0] = Split({account: feeAccount, basisPoints: 100});
        offer.validUntil = uint64(START + 10 * YEAR);
        offer.salt = keccak256("salt");
    }

    function transferableOffer() internal view returns (Offer memory offer) {
        offer = anOffer();
        offer.transferable = true;
    }

    function idOf(Offer memory offer) internal view returns (uint256) {
        return uint256(exchange.hashOffer(offer));
    }

    function domainOf(address verifier, string memory name) internal view returns (bytes32) {
        return keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256(bytes(name)),
                keccak256("1"),
                block.chainid,
                verifier
            )
        );
    }

    function digestOf(bytes32 domain, bytes32 structHash) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(hex"1901", domain, structHash));
    }

    function signature(uint256 key, bytes32 digest) internal pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digest);
        return abi.encodePacked(r, s, v);
    }

    function signHash(uint256 key, bytes32 structHash) internal view returns (bytes memory) {
        return signature(key, digestOf(domainOf(address(exchange), "databund"), structHash));
    }

    function signOffer(Offer memory offer) internal view returns (bytes memory) {
        return signHash(PROVIDER_KEY, exchange.hashOffer(offer));
    }

    function signCancel(uint256 key, bytes32 offerId) internal view returns (bytes memory) {
        return signHash(key, keccak256(abi.encode(keccak256("Cancel(bytes32 offer)"), offerId)));
    }

    function aPurchase(uint64 units) internal view returns (Purchase memory) {
        return Purchase({buyer: buyer, units: units, salt: "order", validAfter: 0, validBefore: type(uint48).max});
    }

    function orderOf(Offer memory offer, Purchase memory purchase) internal pure returns (bytes32) {
        return keccak256(abi.encode(hashOf(offer), purchase.buyer, purchase.units, purchase.salt));
    }

    /// @dev The hash of an offer written down a second time, plainly, from EIP-712.
    function hashOf(Offer memory offer) internal pure returns (bytes32) {
        bytes memory splits;
        for (uint256 i = 0; i < offer.splits.length; ++i) {
            Split memory part = offer.splits[i];
            bytes32 splitType = keccak256("Split(address account,uint16 basisPoints)");
            splits = bytes.concat(splits, keccak256(abi.encode(splitType, part.account, part.basisPoints)));
        }
        bytes memory head = abi.encode(
            keccak256(bytes(offerType())),
            offer.provider,
            offer.dataset,
            offer.contentRoot,
            offer.termsHash,
            offer.currency,
            offer.unitPrice,
            offer.duration,
            offer.uses
        );
        bytes memory tail = abi.encode(
            offer.supply,
            offer.requires,
            offer.escrow,
            offer.transferable,
            keccak256(splits),
            offer.validUntil,
            offer.salt
        );
        return keccak256(bytes.concat(head, tail));
    }

    function offerType() internal pure returns (string memory) {
        return "Offer(address provider,bytes32 dataset,bytes32 contentRoot,bytes32 termsHash,address currency,"
            "uint256 unitPrice,uint64 duration,uint64 uses,uint64 supply,uint256 requires,uint64 escrow,bool transferable,"
            "Split[] splits,uint64 validUntil,bytes32 salt)Split(address account,uint16 basisPoints)";
    }

    /// @dev The buyer's ERC-3009 signature that pays for a purchase.
    function signPayment(uint256 key, Offer memory offer, Purchase memory purchase)
        internal
        view
        returns (bytes memory)
    {
        bytes32 structHash = keccak256(
            abi.encode(
                PAYMENT_TYPEHASH,
                purchase.buyer,
                address(exchange),
                offer.unitPrice * purchase.units,
                purchase.validAfter,
                purchase.validBefore,
                orderOf(offer, purchase)
            )
        );
        return signature(key, digestOf(domainOf(offer.currency, "Credit"), structHash));
    }

    /// @dev Buys as `who`, with the provider's good signature.
    function buyAs(address who, Offer memory offer, uint64 units) internal returns (uint64 expiry) {
        bytes memory signed = signOffer(offer);
        vm.prank(who);
        return exchange.buy(offer, signed, units);
    }

    /// @dev Expects the next purchase by the buyer to be refused with exactly this error.
    function refuse(Offer memory offer, uint64 units, bytes memory reason) internal {
        bytes memory signed = signOffer(offer);
        vm.expectRevert(reason);
        vm.prank(buyer);
        exchange.buy(offer, signed, units);
    }

    /// @dev Has the relayer bring the buyer's purchase.
    function relay(Offer memory offer, Purchase memory purchase) internal returns (uint64 expiry) {
        bytes memory signed = signOffer(offer);
        bytes memory payment = signPayment(BUYER_KEY, offer, purchase);
        vm.prank(relayer);
        return exchange.buyWithAuthorization(offer, signed, purchase, payment);
    }

    function expiryOf(address holder, uint256 id) internal view returns (uint64 expiry) {
        (, expiry,) = licenses.licenseOf(holder, id);
    }
}
