// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ERC721} from "@openzeppelin/contracts/token/ERC721/ERC721.sol";
import {ERC721URIStorage} from "@openzeppelin/contracts/token/ERC721/extensions/ERC721URIStorage.sol";
import {ERC2981} from "@openzeppelin/contracts/token/common/ERC2981.sol";

/// @title Titles to datasets
/// @notice One ERC-721 token per dataset says who owns it (ERC-2981 royalties, EIP-7572 collection metadata). Registering
/// is optional. A dataset's identifier is the hash of its first provider and a salt, so nobody can take another's.
/// @dev There is no operator: nobody but a title's owner can change anything.
contract DatasetTitle is ERC721URIStorage, ERC2981 {
    /// @notice Where the metadata of this collection lies (EIP-7572).
    string public contractURI;

    /// @notice A dataset was registered.
    /// @param dataset Its identifier; as a number, the token id of its title.
    /// @param provider Who registered it.
    /// @param salt What distinguishes it from the provider's other datasets.
    event DatasetRegistered(bytes32 indexed dataset, address indexed provider, bytes32 salt);

    /// @notice A title's royalty was set (ERC-2981).
    /// @param dataset The dataset.
    /// @param receiver Who is to receive it.
    /// @param basisPoints The royalty in 1/10,000 of a sale of the title.
    event RoyaltySet(bytes32 indexed dataset, address receiver, uint96 basisPoints);

    /// @notice Only the owner of the title may do this.
    /// @param dataset The dataset.
    /// @param caller Who tried.
    error NotTitleOwner(bytes32 dataset, address caller);

    /// @param name_ The collection's name.
    /// @param symbol_ The collection's symbol.
    /// @param contractURI_ Where the metadata of the collection lies.
    constructor(string memory name_, string memory symbol_, string memory contractURI_) ERC721(name_, symbol_) {
        contractURI = contractURI_;
    }

    /// @notice Register a dataset and receive its title.
    /// @param salt Distinguishes the caller's datasets.
    /// @param uri Where the dataset's metadata lies.
    /// @return dataset The identifier.
    function register(bytes32 salt, string calldata uri) external returns (bytes32 dataset) {
        dataset = datasetId(msg.sender, salt);
        _mint(msg.sender, uint256(dataset));
        _setTokenURI(uint256(dataset), uri);
        emit DatasetRegistered(dataset, msg.sender, salt);
    }

    /// @notice Say where the dataset's metadata lies now; only the title's owner.
    /// @param dataset The dataset.
    /// @param uri The new place.
    function setURI(bytes32 dataset, string calldata uri) external {
        _checkOwner(dataset);
        _setTokenURI(uint256(dataset), uri);
    }

    /// @notice Set who receives which royalty when the title is sold; only the title's owner.
    /// @param dataset The dataset.
    /// @param receiver Who is to receive it.
    /// @param basisPoints The royalty in 1/10,000 of the sale, at most 10,000.
    function setRoyalty(bytes32 dataset, address receiver, uint96 basisPoints) external {
        _checkOwner(dataset);
        _setTokenRoyalty(uint256(dataset), receiver, basisPoints);
        emit RoyaltySet(dataset, receiver, basisPoints);
    }

    /// @notice The identifier of a provider's dataset.
    /// @param provider Who registers it first.
    /// @param salt Distinguishes the provider's datasets.
    /// @return The identifier; as a number, the token id of the title.
    function datasetId(address provider, bytes32 salt) public pure returns (bytes32) {
        return keccak256(abi.encode(provider, salt));
    }

    /// @inheritdoc ERC721URIStorage
    function supportsInterface(bytes4 interfaceId) public view override(ERC721URIStorage, ERC2981) returns (bool) {
        return super.supportsInterface(interfaceId);
    }

    /// @dev Reverts unless the caller owns the title; approved accounts may transfer it but not rewrite it.
    function _checkOwner(bytes32 dataset) private view {
        if (msg.sender != _requireOwned(uint256(dataset))) revert NotTitleOwner(dataset, msg.sender);
    }
}
