// Compiles the smart contracts and writes what Python needs of them: node build-artifacts.mjs [FOLDER]
//
// The same sources always give the same bytes. Each smart contract is compiled with nothing but what it imports, since
// the compiler's choices depend on everything it is given at once. The settings are those of foundry.toml, as forge
// reads them.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import solc from "solc";

const NAMES = ["CheckpointAnchor", "DatasetTitle", "Exchange", "LicenseToken", "SettlementToken"];
const home = dirname(fileURLToPath(import.meta.url));
const target = resolve(process.argv[2] ?? join(home, "../src/databund/chain/artifacts"));

/** The compiler settings in foundry.toml's default profile. */
function settings() {
  const forge = join(home, "node_modules/@foundry-rs/forge/bin.mjs");
  const env = { ...process.env, FOUNDRY_PROFILE: "default" };
  const config = JSON.parse(execFileSync(process.execPath, [forge, "config", "--json"], { cwd: home, env }));
  return {
    evmVersion: config.evm_version,
    optimizer: { enabled: config.optimizer, runs: config.optimizer_runs },
    viaIR: config.via_ir,
    metadata: { bytecodeHash: config.bytecode_hash, appendCBOR: config.cbor_metadata },
  };
}

/** The text of a source by the name Solidity imports it under. */
function source(name) {
  const folder = name.startsWith("@") ? join(home, "node_modules") : home;
  return readFileSync(join(folder, name), "utf8");
}

/** SHA-256 over the sorted list of the sources that went in: "keccak256 name" and a newline each. */
function sourceHash(metadata) {
  const lines = Object.entries(JSON.parse(metadata).sources).map(([name, { keccak256 }]) => `${keccak256} ${name}\n`);
  return `0x${createHash("sha256").update(lines.sort().join("")).digest("hex")}`;
}

/** The artifact of one smart contract. */
function compile(name, options) {
  const path = `src/${name}.sol`;
  const outputSelection = { [path]: { [name]: ["abi", "evm.bytecode.object", "evm.deployedBytecode.object", "metadata"] } };
  const input = {
    language: "Solidity",
    sources: { [path]: { content: source(path) } },
    settings: { ...options, outputSelection },
  };
  const output = JSON.parse(
    solc.compile(JSON.stringify(input), { import: (imported) => ({ contents: source(imported) }) }),
  );
  const errors = (output.errors ?? []).filter((found) => found.severity === "error");
  if (errors.length) throw new Error(errors.map((error) => error.formattedMessage).join("\n"));
  const { abi, evm, metadata } = output.contracts[path][name];
  return {
    name,
    abi,
    bytecode: `0x${evm.bytecode.object}`,
    deployedBytecode: `0x${evm.deployedBytecode.object}`,
    compiler: { solc: solc.version().replace(/\.Emscripten.*/, ""), ...options },
    sourceHash: sourceHash(metadata),
  };
}

const options = settings();
mkdirSync(target, { recursive: true });
for (const name of NAMES) {
  writeFileSync(join(target, `${name}.json`), `${JSON.stringify(compile(name, options), null, 1)}\n`);
}
