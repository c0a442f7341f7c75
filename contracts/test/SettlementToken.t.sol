// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {ERC3009} from "@openzeppelin/contracts/token/ERC20/extensions/draft-ERC3009.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";
import {Market} from "./support/Market.sol";
import {SettlementToken} from "../src/SettlementToken.sol";

contract SettlementTokenTest is Market {
    /// The owner issues credit, and nobody else does.
    function testFuzz_onlyTheOwnerIssues(address who, uint128 amount) public {
        vm.assume(who != operator);
        uint256 supply = money.totalSupply();
        vm.expectEmit(address(money));
        emit SettlementToken.Issued(buyer, amount);
        vm.prank(operator);
        money.issue(buyer, amount);
        vm.assertEq(money.balanceOf(buyer), WEALTH + amount);
        vm.assertEq(money.totalSupply(), supply + amount);
        vm.expectRevert(abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, who));
        vm.prank(who);
        money.issue(who, amount);
    }

    /// A holder gives back what they have and no more.
    function testFuzz_redeemBurnsOwnCredit(uint256 amount) public {
        amount = bound(amount, 0, WEALTH);
        vm.expectEmit(address(money));
        emit SettlementToken.Redeemed(buyer, amount);
        vm.prank(buyer);
        money.redeem(amount);
        vm.assertEq(money.balanceOf(buyer), WEALTH - amount);
        vm.assertEq(money.totalSupply(), 2 * WEALTH - amount);
        vm.expectRevert(
            abi.encodeWithSelector(
                IERC20Errors.ERC20InsufficientBalance.selector, buyer, WEALTH - amount, WEALTH - amount + 1
            )
        );
        vm.prank(buyer);
        money.redeem(WEALTH - amount + 1);
    }

    /// A signed allowance (ERC-2612) counts, once, from its signer alone.
    function test_permitAllows() public {
        bytes32 permit = keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)");
        bytes32 digest = digestOf(
            domainOf(address(money), "Credit"), keccak256(abi.encode(permit, buyer, relayer, 5, 0, START + 1))
        );
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(BUYER_KEY, digest);
        money.permit(buyer, relayer, 5, START + 1, v, r, s);
        vm.assertEq(money.allowance(buyer, relayer), 5);
        vm.expectRevert();
        money.permit(buyer, relayer, 5, START + 1, v, r, s);
        vm.warp(START + 2);
        vm.expectRevert(abi.encodeWithSelector(ERC20Permit.ERC2612ExpiredSignature.selector, START + 1));
        money.permit(buyer, relayer, 5, START + 1, v, r, s);
    }

    /// A signed payment (ERC-3009) moves the money once, whoever brings it, unless it was cancelled.
    function test_signedPaymentMovesMoneyOnce() public {
        bytes32 kind = keccak256(
            "TransferWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"
        );
        bytes32 digest = digestOf(
            domainOf(address(money), "Credit"), keccak256(abi.encode(kind, buyer, other, 5, 0, START + 1, bytes32("n")))
        );
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(BUYER_KEY, digest);
        vm.prank(relayer);
        money.transferWithAuthorization(buyer, other, 5, 0, START + 1, "n", v, r, s);
        vm.assertEq(money.balanceOf(other), WEALTH + 5);
        vm.expectRevert(abi.encodeWithSelector(ERC3009.ERC3009UsedAuthorization.selector, buyer, bytes32("n")));
        money.transferWithAuthorization(buyer, other, 5, 0, START + 1, "n", v, r, s);
    }

    /// The token is named as it was deployed, and counts in millionths.
    function test_metadata() public view {
        vm.assertEq(money.name(), "Credit");
        vm.assertEq(money.symbol(), "CRD");
        vm.assertEq(money.decimals(), 6);
    }

    /// Ownership passes only to somebody who takes it.
    function test_ownershipPassesInTwoSteps() public {
        vm.prank(operator);
        money.transferOwnership(other);
        vm.assertEq(money.owner(), operator);
        vm.prank(other);
        money.acceptOwnership();
        vm.assertEq(money.owner(), other);
    }
}
