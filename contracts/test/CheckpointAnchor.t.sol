// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Test} from "./support/Test.sol";
import {CheckpointAnchor} from "../src/CheckpointAnchor.sol";

contract CheckpointAnchorTest is Test {
    CheckpointAnchor private anchors = CheckpointAnchor(deploy("CheckpointAnchor", ""));

    /// Whatever order sizes come in, only growth is accepted, and the latest accepted one is told.
    function testFuzz_sizesOnlyGrow(bytes32 origin, uint64[8] calldata sizes) public {
        vm.warp(1_800_000_000);
        (uint64 size, bool some) = (0, false);
        for (uint256 i = 0; i < sizes.length; ++i) {
            bytes32 root = keccak256(abi.encode(sizes[i]));
            if (some && sizes[i] < size) {
                vm.expectRevert(abi.encodeWithSelector(CheckpointAnchor.CheckpointShrinks.selector, size, sizes[i]));
                anchors.anchor(origin, sizes[i], root);
            } else {
                vm.expectEmit(address(anchors));
                emit CheckpointAnchor.CheckpointAnchored(address(this), origin, sizes[i], root);
                anchors.anchor(origin, sizes[i], root);
                (size, some) = (sizes[i], true);
            }
            (uint64 latest, bytes32 last, uint64 time) = anchors.latest(address(this), origin);
            vm.assertEq(latest, size);
            vm.assertEq(last, keccak256(abi.encode(size)));
            vm.assertEq(time, 1_800_000_000);
        }
    }

    /// The same size with another root is a fork and refused; with the same root it is a confirmation.
    function testFuzz_forkIsRefused(bytes32 origin, uint64 size, bytes32 root, bytes32 forged) public {
        vm.assume(root != forged);
        vm.warp(100);
        anchors.anchor(origin, size, root);
        vm.warp(200);
        anchors.anchor(origin, size, root);
        vm.expectRevert(abi.encodeWithSelector(CheckpointAnchor.CheckpointForks.selector, root, forged));
        anchors.anchor(origin, size, forged);
        (,, uint64 time) = anchors.latest(address(this), origin);
        vm.assertEq(time, 100);
    }

    /// What one sender anchors for one log binds no other sender and no other log.
    function test_sendersAndLogsAreApart() public {
        anchors.anchor("log", 10, "root");
        anchors.anchor("another log", 5, "other root");
        vm.prank(named("witness"));
        anchors.anchor("log", 3, "their root");
        (uint64 size,,) = anchors.latest(address(this), "log");
        vm.assertEq(size, 10);
        (size,,) = anchors.latest(named("witness"), "log");
        vm.assertEq(size, 3);
        (,, uint64 time) = anchors.latest(named("nobody"), "log");
        vm.assertEq(time, 0);
    }
}
