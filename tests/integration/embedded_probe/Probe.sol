// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

/// What the embedded node's tests need of a smart contract.
contract Probe {
    error Refused(uint256 code);
    event Stored(address indexed who, uint256 indexed key, uint256 value);

    mapping(uint256 => uint256) public values;

    function store(uint256 key, uint256 value) external payable {
        values[key] = value;
        emit Stored(msg.sender, key, value);
    }

    function clear(uint256 first, uint256 count) external {
        for (uint256 i = first; i < first + count; i++) values[i] = 0;
    }

    function time() external view returns (uint256) { return block.timestamp; }
    function past(uint256 number) external view returns (bytes32) { return blockhash(number); }
    function explain() external pure { revert("because"); }
    function refuse(uint256 code) external pure { revert Refused(code); }

    /// Succeeds only when the inner call got enough gas, which is 63/64 of what is left (EIP-150).
    function deep(uint256 levels) external { if (levels > 0) this.deep(levels - 1); else values[0] += 1; }
    function burn() external pure { while (true) {} }
}
