// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC721Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {ERC2981} from "@openzeppelin/contracts/token/common/ERC2981.sol";
import {Test} from "./support/Test.sol";
import {DatasetTitle} from "../src/DatasetTitle.sol";

contract DatasetTitleTest is Test {
    DatasetTitle private titles;
    address private provider = named("provider");
    address private other = named("other");

    function setUp() public {
        titles = DatasetTitle(
            deploy("DatasetTitle", abi.encode("Datasets", "DATA", "https://exchange.example/titles.json"))
        );
    }

    /// Registering gives the provider the title under the identifier that the provider and the salt make.
    function testFuzz_registerGivesTheTitle(address who, bytes32 salt) public {
        vm.assume(who != address(0));
        bytes32 dataset = keccak256(abi.encode(who, salt));
        vm.expectEmit(address(titles));
        emit DatasetTitle.DatasetRegistered(dataset, who, salt);
        vm.prank(who);
        vm.assertEq(titles.register(salt, "https://data.example/1"), dataset);
        vm.assertEq(titles.ownerOf(uint256(dataset)), who);
        vm.assertEq(titles.tokenURI(uint256(dataset)), "https://data.example/1");
    }

    /// Nobody can take an identifier that belongs to another provider.
    function testFuzz_identifiersCannotBeTaken(address thief, bytes32 salt, bytes32 mine) public view {
        vm.assume(thief != provider);
        vm.assertNotEq(titles.datasetId(thief, salt), titles.datasetId(provider, mine));
    }

    /// A dataset is registered once, also after its title was sold.
    function test_registeredOnce() public {
        bytes32 dataset = register();
        vm.prank(provider);
        titles.transferFrom(provider, other, uint256(dataset));
        vm.expectRevert(abi.encodeWithSelector(IERC721Errors.ERC721InvalidSender.selector, address(0)));
        vm.prank(provider);
        titles.register("salt", "again");
    }

    /// The title's owner says where the metadata lies, and nobody else; a new owner takes over.
    function test_onlyTheOwnerSetsTheURI() public {
        bytes32 dataset = register();
        vm.expectRevert(abi.encodeWithSelector(DatasetTitle.NotTitleOwner.selector, dataset, other));
        vm.prank(other);
        titles.setURI(dataset, "x");
        vm.prank(provider);
        titles.approve(other, uint256(dataset));
        vm.expectRevert(abi.encodeWithSelector(DatasetTitle.NotTitleOwner.selector, dataset, other));
        vm.prank(other);
        titles.setURI(dataset, "x");
        vm.prank(provider);
        titles.transferFrom(provider, other, uint256(dataset));
        vm.prank(other);
        titles.setURI(dataset, "y");
        vm.assertEq(titles.tokenURI(uint256(dataset)), "y");
    }

    /// The title's owner sets the royalty (ERC-2981), at most the whole sale.
    function test_onlyTheOwnerSetsTheRoyalty() public {
        bytes32 dataset = register();
        vm.expectEmit(address(titles));
        emit DatasetTitle.RoyaltySet(dataset, provider, 250);
        vm.prank(provider);
        titles.setRoyalty(dataset, provider, 250);
        (address receiver, uint256 amount) = titles.royaltyInfo(uint256(dataset), 1_000_000);
        vm.assertEq(receiver, provider);
        vm.assertEq(amount, 25_000);
        vm.expectRevert(abi.encodeWithSelector(DatasetTitle.NotTitleOwner.selector, dataset, other));
        vm.prank(other);
        titles.setRoyalty(dataset, other, 1);
        vm.expectRevert(
            abi.encodeWithSelector(ERC2981.ERC2981InvalidTokenRoyalty.selector, uint256(dataset), 10_001, 10_000)
        );
        vm.prank(provider);
        titles.setRoyalty(dataset, provider, 10_001);
    }

    /// A dataset nobody registered has no owner who could set anything.
    function test_unknownDatasetIsRefused() public {
        bytes memory reason = abi.encodeWithSelector(IERC721Errors.ERC721NonexistentToken.selector, 7);
        vm.expectRevert(reason);
        titles.setURI(bytes32(uint256(7)), "x");
        vm.expectRevert(reason);
        titles.setRoyalty(bytes32(uint256(7)), provider, 1);
        vm.expectRevert(reason);
        titles.tokenURI(7);
    }

    /// ERC-165 names ERC-721 with metadata, its updates (ERC-4906) and royalties; EIP-7572 tells of the collection.
    function test_interfacesAndMetadata() public view {
        vm.assertTrue(titles.supportsInterface(0x01ffc9a7));
        vm.assertTrue(titles.supportsInterface(0x80ac58cd));
        vm.assertTrue(titles.supportsInterface(0x5b5e139f));
        vm.assertTrue(titles.supportsInterface(0x49064906));
        vm.assertTrue(titles.supportsInterface(0x2a55205a));
        vm.assertFalse(titles.supportsInterface(0xffffffff));
        vm.assertEq(titles.contractURI(), "https://exchange.example/titles.json");
    }

    function register() private returns (bytes32) {
        vm.prank(provider);
        return titles.register("salt", "https://data.example/1");
    }
}
