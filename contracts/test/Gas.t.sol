// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Market} from "./support/Market.sol";
import {CheckpointAnchor} from "../src/CheckpointAnchor.sol";
import {DatasetTitle} from "../src/DatasetTitle.sol";
import {Offer, Split} from "../src/offers/Offer.sol";

/// @dev One act per test, for the gas snapshot. Its figures include what the test itself does around the act, so they are
/// for comparison; tests/integration/test_contracts.py measures whole chain transactions.
contract GasTest is Market {
    CheckpointAnchor private _anchors;
    DatasetTitle private _titles;

    function setUp() public override {
        super.setUp();
        vm.prank(operator);
        money.issue(provider, 1);
        vm.prank(operator);
        money.issue(feeAccount, 1);
        _anchors = CheckpointAnchor(deploy("CheckpointAnchor", ""));
        _titles = DatasetTitle(deploy("DatasetTitle", abi.encode("Datasets", "DATA", "")));
        buyAs(other, anOffer(), 1);
        buyAs(other, transferableOffer(), 2);
        _anchors.anchor("log", 1, "root");
    }

    function test_gas_buyFirst() public {
        buyAs(buyer, anOffer(), 1);
    }

    function test_gas_buyFirstWithoutSplit() public {
        Offer memory offer = anOffer();
        offer.splits = new Split[](0);
        buyAs(buyer, offer, 1);
    }

    function test_gas_buyFirstOfLimitedSupply() public {
        Offer memory offer = anOffer();
        offer.supply = 10;
        buyAs(buyer, offer, 1);
    }

    function test_gas_buyAgain() public {
        buyAs(other, anOffer(), 1);
    }

    function test_gas_buyWithAuthorization() public {
        relay(anOffer(), aPurchase(1));
    }

    function test_gas_cancel() public {
        vm.prank(provider);
        exchange.cancel(anOffer());
    }

    function test_gas_cancelWithSignature() public {
        exchange.cancelWithSignature(anOffer(), signCancel(PROVIDER_KEY, hashOf(anOffer())));
    }

    function test_gas_transfer() public {
        uint256 id = uint256(hashOf(transferableOffer()));
        vm.prank(other);
        licenses.safeTransferFrom(other, buyer, id, 1, "");
    }

    function test_gas_anchorFirst() public {
        _anchors.anchor("another log", 1, "root");
    }

    function test_gas_anchorAgain() public {
        _anchors.anchor("log", 2, "root two");
    }

    function test_gas_register() public {
        _titles.register("salt", "https://data.example/1");
    }
}
