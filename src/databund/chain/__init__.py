"""The ledger: the adapter to any EVM node over JSON-RPC, the embedded node, and the compiled smart contracts.

``artifacts/`` holds one JSON file per smart contract (ABI, bytecode, compiler, source hash). They are built from
``contracts/`` and committed, so that nobody who installs databund needs a compiler; a test recompiles and compares.
"""
