// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {SettlementToken} from "../../src/SettlementToken.sol";

/// @dev A currency that burns a tenth of every transfer.
contract FeeCurrency is SettlementToken {
    constructor(address owner_) SettlementToken("Credit", "FEE", owner_) {}

    function _update(address from, address to, uint256 value) internal override {
        if (from != address(0) && to != address(0)) {
            super._update(from, address(0), value / 10);
            value -= value / 10;
        }
        super._update(from, to, value);
    }
}

/// @dev A currency that says no by returning false.
contract SilentCurrency {
    function transferFrom(address, address, uint256) external pure returns (bool) {
        return false;
    }
}

/// @dev A currency that calls back before it moves money, once.
contract HostileCurrency is SettlementToken {
    address private _target;
    bytes private _call;

    constructor(address owner_) SettlementToken("Credit", "BAD", owner_) {}

    function plan(address target, bytes calldata call) external {
        (_target, _call) = (target, call);
    }

    function _update(address from, address to, uint256 value) internal override {
        if (_target != address(0)) {
            address victim = _target;
            _target = address(0);
            (bool done, bytes memory reason) = victim.call(_call);
            if (!done) {
                assembly ("memory-safe") {
                    revert(add(reason, 0x20), mload(reason))
                }
            }
        }
        super._update(from, to, value);
    }
}
