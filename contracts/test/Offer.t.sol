// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Market} from "./support/Market.sol";
import {Exchange} from "../src/Exchange.sol";
import {Offer, Split} from "../src/offers/Offer.sol";

contract OfferTest is Market {
    /// An offer's identifier is its EIP-712 struct hash, as a second plain implementation and as forge compute it.
    function testFuzz_hashIsTheStructHash(Offer calldata offer) public view {
        bytes32 hash = exchange.hashOffer(offer);
        vm.assertEq(hash, hashOf(offer));
        vm.assertEq(hash, vm.eip712HashStruct(offerType(), abi.encode(offer)));
    }

    /// Every field counts: an offer that differs in one of them has another identifier.
    function testFuzz_everyFieldCounts(Offer memory offer, uint256 field, bytes32 change) public view {
        bytes32 before = exchange.hashOffer(offer);
        bytes memory encoded = abi.encode(offer);
        field = bound(field, 0, 14);
        vm.assume(field != 12);
        uint256 bits = field == 0 || field == 4 ? 160 : field == 11 ? 1 : 64;
        if (field == 1 || field == 2 || field == 3 || field == 5 || field == 9 || field == 14) bits = 256;
        uint256 flip = bits == 256 ? uint256(change) : uint256(change) & ((1 << bits) - 1);
        vm.assume(flip != 0);
        assembly ("memory-safe") {
            let place := add(add(encoded, 0x40), shl(5, field))
            mstore(place, xor(mload(place), flip))
        }
        vm.assertNotEq(before, exchange.hashOffer(abi.decode(encoded, (Offer))));
    }

    /// The splits' order, accounts and shares count.
    function test_splitsCount() public view {
        Offer memory offer = anOffer();
        bytes32 one = exchange.hashOffer(offer);
        offer.splits[0].basisPoints = 101;
        vm.assertNotEq(one, exchange.hashOffer(offer));
        offer.splits = new Split[](0);
        vm.assertNotEq(one, exchange.hashOffer(offer));
    }

    /// A field with bits beyond its type is refused by a purchase, even when its provider signed just that.
    function testFuzz_bitsBeyondTheTypeAreRefused(uint256 field, uint256 bit) public {
        uint8[8] memory fields = [0, 4, 6, 7, 8, 10, 11, 13];
        field = fields[bound(field, 0, 7)];
        bit = bound(bit, field == 0 || field == 4 ? 160 : field == 11 ? 1 : 64, 255);
        Offer memory offer = anOffer();
        bytes memory asked = abi.encodeCall(Exchange.hashOffer, (offer));
        spoil(asked, 0x24 + 0x20 + 0x20 * field, bit);
        (, bytes memory answer) = address(exchange).staticcall(asked);
        bytes memory signed = signHash(PROVIDER_KEY, abi.decode(answer, (bytes32)));
        bytes memory call = abi.encodeCall(Exchange.buy, (offer, signed, 1));
        spoil(call, 0x24 + 0x60 + 0x20 * field, bit);
        vm.prank(buyer);
        (bool done,) = address(exchange).call(call);
        vm.assertFalse(done);
        vm.assertEq(licenses.balanceOf(buyer, idOf(offer)), 0);
    }

    /// A wallet that signs the typed data as JSON signs what the exchange checks.
    function test_walletsSignTheSameDigest() public {
        Offer memory offer = anOffer();
        bytes memory signed = signature(PROVIDER_KEY, vm.eip712HashTypedData(json(offer)));
        vm.prank(buyer);
        exchange.buy(offer, signed, 1);
        vm.assertEq(licenses.balanceOf(buyer, idOf(offer)), 1);
    }

    /// EIP-5267 tells the signing domain.
    function test_domainIsDiscoverable() public view {
        (bytes1 fields, string memory name, string memory version, uint256 chain, address verifier,,) =
            exchange.eip712Domain();
        vm.assertEq(uint8(fields), 0x0f);
        vm.assertEq(name, "databund");
        vm.assertEq(version, "1");
        vm.assertEq(chain, block.chainid);
        vm.assertEq(verifier, address(exchange));
    }

    /// An order's identifier names offer, buyer, units and salt.
    function testFuzz_orderNamesItsParts(bytes32 offerId, address who, uint64 units, bytes32 salt) public view {
        vm.assertEq(exchange.orderId(offerId, who, units, salt), keccak256(abi.encode(offerId, who, units, salt)));
    }

    function spoil(bytes memory encoded, uint256 place, uint256 bit) private pure {
        assembly ("memory-safe") {
            let word := add(encoded, place)
            mstore(word, xor(mload(word), shl(bit, 1)))
        }
    }

    function json(Offer memory offer) private view returns (string memory) {
        string memory types = '{"primaryType":"Offer","types":{"EIP712Domain":[{"name":"name","type":"string"},'
            '{"name":"version","type":"string"},{"name":"chainId","type":"uint256"},{"name":"verifyingContract","type":"address"}],'
            '"Split":[{"name":"account","type":"address"},{"name":"basisPoints","type":"uint16"}],'
            '"Offer":[{"name":"provider","type":"address"},{"name":"dataset","type":"bytes32"},{"name":"contentRoot","type":"bytes32"},'
            '{"name":"termsHash","type":"bytes32"},{"name":"currency","type":"address"},{"name":"unitPrice","type":"uint256"},'
            '{"name":"duration","type":"uint64"},{"name":"uses","type":"uint64"},{"name":"supply","type":"uint64"},'
            '{"name":"requires","type":"uint256"},{"name":"escrow","type":"uint64"},{"name":"transferable","type":"bool"},'
            '{"name":"splits","type":"Split[]"},{"name":"validUntil","type":"uint64"},{"name":"salt","type":"bytes32"}]},';
        string memory domain = string.concat(
            '"domain":{"name":"databund","version":"1","chainId":',
            vm.toString(block.chainid),
            ',"verifyingContract":"',
            vm.toString(address(exchange)),
            '"},'
        );
        string memory first = string.concat(
            '"message":{"provider":"',
            vm.toString(offer.provider),
            '","dataset":"',
            vm.toString(offer.dataset),
            '","contentRoot":"',
            vm.toString(offer.contentRoot),
            '","termsHash":"',
            vm.toString(offer.termsHash),
            '","currency":"',
            vm.toString(offer.currency)
        );
        string memory second = string.concat(
            '","unitPrice":10000000,"duration":31536000,"uses":0,"supply":0,"requires":0,"escrow":0,"transferable":false,',
            '"splits":[{"account":"',
            vm.toString(offer.splits[0].account),
            '","basisPoints":100}],"validUntil":',
            vm.toString(uint256(offer.validUntil)),
            ',"salt":"',
            vm.toString(offer.salt),
            '"}}'
        );
        return string.concat(types, domain, first, second);
    }
}
