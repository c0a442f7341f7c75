// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";
import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC3009} from "@openzeppelin/contracts/token/ERC20/extensions/draft-ERC3009.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";

/// @title Settlement credit
/// @notice The money of an exchange that runs its own network: credit that the operator issues against deposits and owes
/// to whoever holds it. ERC-20 with signed allowances (ERC-2612) and signed payments (ERC-3009).
contract SettlementToken is ERC20Permit, ERC3009, Ownable2Step {
    /// @notice Credit was issued against a deposit.
    /// @param to Whose deposit.
    /// @param amount Base units.
    event Issued(address indexed to, uint256 amount);

    /// @notice A holder gave credit back and is owed the deposit.
    /// @param holder Who gave it back.
    /// @param amount Base units.
    event Redeemed(address indexed holder, uint256 amount);

    /// @param name_ The token's name, at most 31 bytes; also the name of its EIP-712 domain, whose version is "1".
    /// @param symbol_ The token's symbol.
    /// @param owner_ Who issues.
    constructor(string memory name_, string memory symbol_, address owner_)
        ERC20(name_, symbol_)
        ERC20Permit(name_)
        Ownable(owner_)
    {}

    /// @notice Issue credit against a deposit; only the owner.
    /// @param to Whose deposit.
    /// @param amount Base units.
    function issue(address to, uint256 amount) external onlyOwner {
        _mint(to, amount);
        emit Issued(to, amount);
    }

    /// @notice Give own credit back; the operator pays out the deposit.
    /// @param amount Base units.
    function redeem(uint256 amount) external {
        _burn(msg.sender, amount);
        emit Redeemed(msg.sender, amount);
    }

    /// @inheritdoc ERC20
    function decimals() public pure override returns (uint8) {
        return 6;
    }
}
