// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Anchors for the checkpoints of transparency logs
/// @notice Whoever runs or watches a log leaves its tree head (RFC 6962) here from time to time. A head once left cannot be
/// taken back, so a history that was rewritten later shows.
/// @dev Anchors are kept per sender: what one says about a log binds nobody else.
contract CheckpointAnchor {
    /// @notice A tree head that was left here.
    /// @param size Number of entries in the tree.
    /// @param time When it was first left, in Unix seconds; 0 where there is none.
    /// @param root Root hash of the tree.
    struct Checkpoint {
        uint64 size;
        uint64 time;
        bytes32 root;
    }

    mapping(address sender => mapping(bytes32 origin => Checkpoint)) private _latest;

    /// @notice A tree head was anchored, or confirmed when it is the last one again.
    /// @param sender Who says so.
    /// @param origin SHA-256 of the log's origin line.
    /// @param size Number of entries in the tree.
    /// @param root Root hash of the tree.
    event CheckpointAnchored(address indexed sender, bytes32 indexed origin, uint64 size, bytes32 root);

    /// @notice A larger tree was anchored before; logs do not shrink.
    /// @param anchored The size anchored before.
    /// @param size The size given now.
    error CheckpointShrinks(uint64 anchored, uint64 size);

    /// @notice Another root was anchored for this size; the log has forked.
    /// @param anchored The root anchored before.
    /// @param root The root given now.
    error CheckpointForks(bytes32 anchored, bytes32 root);

    /// @notice Anchor a tree head.
    /// @param origin SHA-256 of the log's origin line.
    /// @param size Number of entries in the tree, not below the size the sender anchored last.
    /// @param root Root hash of the tree, the same as before when the size is the same.
    function anchor(bytes32 origin, uint64 size, bytes32 root) external {
        Checkpoint storage last = _latest[msg.sender][origin];
        (uint64 lastSize, uint64 lastTime) = (last.size, last.time);
        if (size < lastSize) revert CheckpointShrinks(lastSize, size);
        if (lastTime == 0 || size != lastSize) {
            (last.size, last.time, last.root) = (size, uint64(block.timestamp), root);
        } else if (root != last.root) {
            revert CheckpointForks(last.root, root);
        }
        emit CheckpointAnchored(msg.sender, origin, size, root);
    }

    /// @notice The last tree head a sender anchored for a log.
    /// @param sender Who anchored it.
    /// @param origin SHA-256 of the log's origin line.
    /// @return size Number of entries in the tree.
    /// @return root Root hash of the tree.
    /// @return time When it was first anchored, in Unix seconds; 0 where there is none.
    function latest(address sender, bytes32 origin) external view returns (uint64 size, bytes32 root, uint64 time) {
        Checkpoint storage last = _latest[sender][origin];
        return (last.size, last.root, last.time);
    }
}
