// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";
import {IERC3009} from "@openzeppelin/contracts/interfaces/draft-IERC3009.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {Pausable} from "@openzeppelin/contracts/utils/Pausable.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {LicenseToken} from "./LicenseToken.sol";
import {Offer, Split, hashCancel, hashOffer as offerHash} from "./offers/Offer.sol";
import {Purchase, hashOrder} from "./offers/Purchase.sol";

/// @title The exchange: sells licenses under signed offers
/// @notice A provider signs an offer (EIP-712) and publishes it anywhere; whoever presents it here with the payment
/// receives the license. Payment and license are one step: both happen or neither does.
/// @dev The exchange holds no money between calls and has no power over an offer: what its operator earns is a split that
/// the provider signed. A currency that keeps a part of every transfer pays the recipients less in `buy`, which is
/// between them and their currency, and makes `buyWithAuthorization` revert, because the exchange pays out only what came
/// in. A provider or split account that the currency refuses to pay makes sales revert; nothing is ever stuck here.
contract Exchange is EIP712, Ownable2Step, Pausable, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;

    /// @dev What is remembered of an offer, in one storage word.
    struct OfferState {
        // Units sold of a limited supply.
        uint64 sold;
        bool cancelled;
    }

    uint256 private constant WHOLE = 10_000;

    /// @notice The token of the licenses sold here.
    LicenseToken public immutable LICENSES;

    mapping(bytes32 offerId => OfferState) private _offers;

    /// @notice A license was sold or renewed.
    /// @param offerId The offer, and the token id of the license.
    /// @param buyer Who paid and holds the license.
    /// @param provider Who sold.
    /// @param orderId The order of a relayed purchase, 0 for a direct one.
    /// @param units Units sold.
    /// @param price What the buyer paid in all, in the currency's base units.
    /// @param currency The token paid in.
    /// @param expiry The last second of the buyer's term after this sale.
    event LicenseSold(
        bytes32 indexed offerId,
        address indexed buyer,
        address indexed provider,
        bytes32 orderId,
        uint64 units,
        uint256 price,
        address currency,
        uint64 expiry
    );

    /// @notice A provider withdrew an offer. Licenses sold before stay as they are.
    /// @param offerId The offer.
    /// @param provider Who withdrew it.
    event OfferCancelled(bytes32 indexed offerId, address indexed provider);

    /// @notice At least one unit must be bought.
    error NoUnits();

    /// @notice The offer's last second has passed.
    /// @param offerId The offer.
    /// @param validUntil Its last second.
    error OfferExpired(bytes32 offerId, uint64 validUntil);

    /// @notice The provider withdrew the offer.
    /// @param offerId The offer.
    error OfferIsCancelled(bytes32 offerId);

    /// @notice Fewer units are left than asked for.
    /// @param offerId The offer.
    /// @param left Units that can still be sold.
    error SupplyExceeded(bytes32 offerId, uint64 left);

    /// @notice The signature is not the provider's.
    /// @param provider Who should have signed.
    error InvalidProviderSignature(address provider);

    /// @notice The buyer's signature is not 65 bytes of r, s and v.
    error InvalidBuyerSignature();

    /// @notice Only the provider may do this.
    /// @param caller Who tried.
    error NotProvider(address caller);

    /// @notice This exchange does not sell offers that require claims of the buyer.
    /// @param requires The mask in the offer.
    error RequirementsUnsupported(uint256 requires);

    /// @notice This exchange does not sell offers with escrow.
    /// @param escrow The seconds in the offer.
    error EscrowUnsupported(uint64 escrow);

    /// @notice Uses are counted per holder, so a license with counted uses cannot be transferable.
    error UsesNotTransferable();

    /// @notice The splits are more than the whole price.
    /// @param basisPoints Their sum.
    error SplitsExceedPrice(uint256 basisPoints);

    /// @notice A split cannot go to this exchange, where nobody could take the money out.
    error SplitToExchange();

    /// @notice There is no token at the currency's address.
    /// @param currency The address in the offer.
    error CurrencyMissing(address currency);

    /// @param owner_ Who may pause and resume sales.
    /// @param licenseUri Where the metadata of a license lies, with `{id}` for the token id in hexadecimal.
    constructor(address owner_, string memory licenseUri) EIP712("databund", "1") Ownable(owner_) {
        LICENSES = new LicenseToken(address(this), licenseUri);
    }

    /// @notice Buy units of an offer for oneself, paid from the allowance given to this exchange.
    /// @param offer The offer.
    /// @param providerSignature The provider's EIP-712 signature over it, or what its ERC-1271 account accepts.
    /// @param units How many units.
    /// @return expiry The last second of the buyer's term.
    function buy(Offer calldata offer, bytes calldata providerSignature, uint64 units)
        external
        whenNotPaused
        nonReentrant
        returns (uint64 expiry)
    {
        bytes32 offerId = _admit(offer, providerSignature, units);
        uint256 price = offer.unitPrice * units;
        _payOut(offer, price, msg.sender);
        expiry = _issue(offer, offerId, msg.sender, units, price, 0);
    }

    /// @notice Buy units of an offer for a buyer who signed the payment; anyone may bring it, nobody can redirect it.
    /// @dev The payment's ERC-3009 nonce is the order's identifier, which names offer, buyer and units, and its recipient
    /// is this exchange. A free offer needs the authorization of 0 too: it is the buyer's consent, and it is used up.
    /// @param offer The offer.
    /// @param providerSignature The provider's EIP-712 signature over it, or what its ERC-1271 account accepts.
    /// @param purchase What the buyer authorized.
    /// @param buyerSignature The buyer's ERC-3009 `ReceiveWithAuthorization` signature: r, s, v.
    /// @return expiry The last second of the buyer's term.
    function buyWithAuthorization(
        Offer calldata offer,
        bytes calldata providerSignature,
        Purchase calldata purchase,
        bytes calldata buyerSignature
    ) external whenNotPaused nonReentrant returns (uint64 expiry) {
        bytes32 offerId = _admit(offer, providerSignature, purchase.units);
        uint256 price = offer.unitPrice * purchase.units;
        bytes32 order = hashOrder(offerId, purchase.buyer, purchase.units, purchase.salt);
        _collect(offer.currency, price, order, purchase, buyerSignature);
        _payOut(offer, price, address(this));
        expiry = _issue(offer, offerId, purchase.buyer, purchase.units, price, order);
    }

    /// @notice Withdraw an offer, also while sales are paused; only its provider.
    /// @param offer The offer, whether or not it was ever signed.
    function cancel(Offer calldata offer) external {
        if (msg.sender != offer.provider) revert NotProvider(msg.sender);
        _cancel(offerHash(offer), offer.provider);
    }

    /// @notice Withdraw an offer with its provider's signature over `Cancel(bytes32 offer)`; anyone may bring it.
    /// @param offer The offer.
    /// @param signature The provider's EIP-712 signature, or what its ERC-1271 account accepts.
    function cancelWithSignature(Offer calldata offer, bytes calldata signature) external {
        bytes32 offerId = offerHash(offer);
        _checkSignature(offer.provider, hashCancel(offerId), signature);
        _cancel(offerId, offer.provider);
    }

    /// @notice Stop all sales; only the owner. Cancelling and everything about sold licenses goes on.
    function pause() external onlyOwner {
        _pause();
    }

    /// @notice Resume sales; only the owner.
    function unpause() external onlyOwner {
        _unpause();
    }

    /// @notice What became of an offer.
    /// @param offerId The offer.
    /// @return cancelled Whether its provider withdrew it.
    /// @return sold Units sold of a limited supply; 0 for an offer without limit, whose sales are in `LicenseSold` alone.
    function offerState(bytes32 offerId) external view returns (bool cancelled, uint64 sold) {
        OfferState storage state = _offers[offerId];
        return (state.cancelled, state.sold);
    }

    /// @notice The identifier of an offer: its EIP-712 struct hash, and the token id of its licenses.
    /// @param offer The offer.
    /// @return The identifier.
    function hashOffer(Offer calldata offer) external pure returns (bytes32) {
        return offerHash(offer);
    }

    /// @notice The identifier of an order, which a buyer signs as the nonce of the ERC-3009 payment.
    /// @param offerId The offer.
    /// @param buyer Who pays and receives the license.
    /// @param units How many units.
    /// @param salt Distinguishes the buyer's orders for the same offer.
    /// @return The identifier.
    function orderId(bytes32 offerId, address buyer, uint64 units, bytes32 salt) external pure returns (bytes32) {
        return hashOrder(offerId, buyer, units, salt);
    }

    /// @dev Checks that this many units of the offer can be sold now, and counts them where the supply is limited. Writing
    /// a count that nobody checks would cost the first buyer of every offer 20,000 gas.
    function _admit(Offer calldata offer, bytes calldata signature, uint64 units) private returns (bytes32 offerId) {
        offerId = offerHash(offer);
        if (units == 0) revert NoUnits();
        if (offer.requires != 0) revert RequirementsUnsupported(offer.requires);
        if (offer.escrow != 0) revert EscrowUnsupported(offer.escrow);
        if (offer.uses != 0 && offer.transferable) revert UsesNotTransferable();
        if (block.timestamp > offer.validUntil) revert OfferExpired(offerId, offer.validUntil);
        _checkSignature(offer.provider, offerId, signature);

        OfferState storage state = _offers[offerId];
        if (state.cancelled) revert OfferIsCancelled(offerId);
        uint64 supply = offer.supply;
        if (supply != 0) {
            uint64 left = supply - state.sold;
            if (units > left) revert SupplyExceeded(offerId, left);
            state.sold += units;
        }
    }

    /// @dev Takes the price from the buyer by ERC-3009; the token checks the signature and that it is used once.
    function _collect(
        address currency,
        uint256 price,
        bytes32 order,
        Purchase calldata purchase,
        bytes calldata signature
    ) private {
        if (signature.length != 65) revert InvalidBuyerSignature();
        if (currency.code.length == 0) revert CurrencyMissing(currency);
        IERC3009(currency)
            .receiveWithAuthorization(
                purchase.buyer,
                address(this),
                price,
                purchase.validAfter,
                purchase.validBefore,
                order,
                uint8(signature[64]),
                bytes32(signature[0:32]),
                bytes32(signature[32:64])
            );
    }

    /// @dev Pays every split its share, rounded down, and the provider the rest.
    function _payOut(Offer calldata offer, uint256 price, address payer) private {
        IERC20 currency = IERC20(offer.currency);
        Split[] calldata splits = offer.splits;
        uint256 rest = price;
        uint256 total = 0;
        for (uint256 i = 0; i < splits.length; ++i) {
            Split calldata part = splits[i];
            (address account, uint256 basisPoints) = (part.account, part.basisPoints);
            if (account == address(this)) revert SplitToExchange();
            uint256 share = price * basisPoints / WHOLE;
            unchecked {
                // Shares are rounded down and together at most the whole, so they never exceed the price.
                total += basisPoints;
                if (total > WHOLE) revert SplitsExceedPrice(total);
                rest -= share;
            }
            _pay(currency, payer, account, share);
        }
        _pay(currency, payer, offer.provider, rest);
    }

    /// @dev Moves money that the payer allowed or that this exchange has just received; nothing for an amount of 0.
    function _pay(IERC20 currency, address payer, address to, uint256 amount) private {
        if (amount == 0) return;
        if (payer == address(this)) {
            currency.safeTransfer(to, amount);
        } else {
            currency.safeTransferFrom(payer, to, amount);
        }
    }

    /// @dev Issues the license last, since a buyer that is a smart contract is called back.
    function _issue(Offer calldata offer, bytes32 offerId, address buyer, uint64 units, uint256 price, bytes32 order)
        private
        returns (uint64 expiry)
    {
        expiry = LICENSES.issue(buyer, uint256(offerId), units, offer.duration, offer.uses, !offer.transferable);
        emit LicenseSold(offerId, buyer, offer.provider, order, units, price, offer.currency, expiry);
    }

    /// @dev Marks an offer as withdrawn, once.
    function _cancel(bytes32 offerId, address provider) private {
        OfferState storage state = _offers[offerId];
        if (state.cancelled) revert OfferIsCancelled(offerId);
        state.cancelled = true;
        emit OfferCancelled(offerId, provider);
    }

    /// @dev Reverts unless the provider signed this struct for this exchange. The provider's own key is tried first: it
    /// always speaks for its account, also where code was delegated to it (EIP-7702). Then the account's code is asked.
    function _checkSignature(address provider, bytes32 structHash, bytes calldata signature) private view {
        bytes32 digest = _hashTypedDataV4(structHash);
        (address signer, ECDSA.RecoverError failure,) = ECDSA.tryRecoverCalldata(digest, signature);
        if (failure == ECDSA.RecoverError.NoError && signer == provider) return;
        if (!SignatureChecker.isValidERC1271SignatureNowCalldata(provider, digest, signature)) {
            revert InvalidProviderSignature(provider);
        }
    }
}
