"""The commands, as a table: what there is, where its code lies, and what help and documentation say of it.

Nothing of a command is imported before it is run or its own help is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["COMMANDS", "TOPICS", "Command", "Topic", "find", "within"]

AGAIN = "Run the same command again; nothing is done or paid twice."


@dataclass(frozen=True)
class Topic:
    """A first word of the command line: a command of its own, or a family of commands."""

    name: str
    section: str
    about: str


@dataclass(frozen=True)
class Command:
    """One command: its words, its function as ``module:name``, what it does, and how to go on after Ctrl-C."""

    words: tuple[str, ...]
    target: str
    about: str
    examples: tuple[str, ...] = ()
    again: str = AGAIN

    @property
    def name(self) -> str:
        """The command as it is typed, without the program's name."""
        return " ".join(self.words)


TOPICS: tuple[Topic, ...] = (
    Topic("demo", "Start", "Trade a dataset between three parties and verify every step."),
    Topic("serve", "Start", "Run a node."),
    Topic("doctor", "Start", "Look for what is wrong here, and say how to mend it."),
    Topic("dataset", "Trade", "Publish, find and download data."),
    Topic("offer", "Trade", "Say at which price and on which terms data is licensed."),
    Topic("license", "Trade", "Buy, look at and transfer licenses."),
    Topic("order", "Trade", "Follow purchases to their certificates."),
    Topic("credit", "Trade", "The money of the exchange."),
    Topic("audit", "Prove", "Export the audit log, and verify it without any node."),
    Topic("witness", "Prove", "Cosign the checkpoints of logs, so that none can rewrite its history."),
    Topic("ledger", "Prove", "Replay the chain of a node."),
    Topic("key", "Set up", "Make, list, back up and bring keys."),
    Topic("config", "Set up", "Settings, and where they come from."),
    Topic("completion", "Set up", "Make the shell complete commands and options."),
)

COMMANDS: tuple[Command, ...] = (
    Command(
        ("demo",),
        "databund.cli.demo:demo",
        "Trade a dataset between three parties and verify every step.",
        ("databund demo", "databund demo --data measurements.parquet"),
        again="Run it again; each run starts in a fresh folder.",
    ),
    Command(
        ("serve",),
        "databund.cli.serve:serve",
        "Run a node until it is told to stop.",
        ("databund serve", "databund serve --home shop --port 9000 --public-url https://data.example.com"),
    ),
    Command(
        ("doctor",),
        "databund.cli.doctor:doctor",
        "Check this machine, the home, its keys and the node, and say how to mend what is wrong.",
        ("databund doctor",),
    ),
    Command(
        ("dataset", "publish"),
        "databund.cli.dataset:publish",
        "Seal a file or folder, upload it and register it; with a price, also offer it.",
        (
            "databund dataset publish measurements.parquet --price 12.50 --days 30",
            "databund dataset publish scans/ --name ct-scans --title 'CT scans' --price 900 --purpose research",
        ),
        again="Run the same command again; it seals and uploads from the start.",
    ),
    Command(
        ("dataset", "list"),
        "databund.cli.dataset:list_",
        "List the newest datasets.",
        ("databund dataset list", "databund dataset list --mine"),
    ),
    Command(
        ("dataset", "search"),
        "databund.cli.dataset:search",
        "Find datasets whose description holds every word.",
        ("databund dataset search breast cancer",),
    ),
    Command(
        ("dataset", "show"),
        "databund.cli.dataset:show",
        "Show a dataset, its columns and its offers.",
        ("databund dataset show breast-cancer",),
    ),
    Command(
        ("dataset", "download"),
        "databund.cli.dataset:download",
        "Download, verify and open the data of a license.",
        ("databund dataset download breast-cancer --to data", "databund dataset download 0x3f9a12 --purpose research"),
        again="Run the same command again; it continues at the byte where it stopped.",
    ),
    Command(
        ("offer", "create"),
        "databund.cli.offer:create",
        "Offer a published dataset.",
        ("databund offer create breast-cancer --price 12.50 --days 30", "databund offer create breast-cancer --free"),
    ),
    Command(
        ("offer", "withdraw"),
        "databund.cli.offer:withdraw",
        "Take an offer off the list; licenses that were sold stay valid.",
        ("databund offer withdraw 0x3f9a12",),
    ),
    Command(
        ("offer", "list"),
        "databund.cli.offer:list_",
        "List the offers that can be bought.",
        ("databund offer list", "databund offer list --mine --all"),
    ),
    Command(
        ("offer", "show"),
        "databund.cli.offer:show",
        "Show an offer and its terms.",
        ("databund offer show 0x3f9a12",),
    ),
    Command(
        ("license", "buy"),
        "databund.cli.license:buy",
        "Buy a license with one signature.",
        ("databund license buy breast-cancer", "databund license buy 0x3f9a12 --units 3 --max-price 40"),
    ),
    Command(
        ("license", "list"),
        "databund.cli.license:list_",
        "List your licenses.",
        ("databund license list",),
    ),
    Command(
        ("license", "show"),
        "databund.cli.license:show",
        "Show what the chain says of a license.",
        ("databund license show 0x3f9a12",),
    ),
    Command(
        ("license", "transfer"),
        "databund.cli.license:transfer",
        "Give units of a transferable license to another account.",
        ("databund license transfer 0x3f9a12 0x8ba1f109551bD432803012645Ac136ddd64DBA72",),
        again="Look before you run it again: databund license show",
    ),
    Command(
        ("order", "list"),
        "databund.cli.order:list_",
        "List your orders.",
        ("databund order list",),
    ),
    Command(
        ("order", "show"),
        "databund.cli.order:show",
        "Show where an order stands.",
        ("databund order show 0x77c01e",),
    ),
    Command(
        ("order", "certificate"),
        "databund.cli.order:certificate",
        "Settle and certify a delivered order, and show its certificate.",
        ("databund order certificate 0x77c01e", "databund order certificate 0x77c01e --json > certificate.json"),
    ),
    Command(
        ("order", "evidence"),
        "databund.cli.order:evidence",
        "Write everything that proves a trade into one file.",
        ("databund order evidence 0x77c01e", "databund order evidence 0x77c01e --to evidence.zip"),
    ),
    Command(
        ("credit", "issue"),
        "databund.cli.credit:issue",
        "Credit an account against a deposit; only the operator of the node may.",
        ("databund credit issue 0x8ba1f109551bD432803012645Ac136ddd64DBA72 100 --reference wire-2026-0417",),
        again="Look before you run it again: databund credit show",
    ),
    Command(
        ("credit", "show"),
        "databund.cli.credit:show",
        "Show a balance; yours when no account is named.",
        ("databund credit show",),
    ),
    Command(
        ("audit", "export"),
        "databund.cli.audit:export",
        "Write the node's log and its documents into one file or folder.",
        ("databund audit export log.zip", "databund audit export public/ --folder"),
    ),
    Command(
        ("audit", "verify"),
        "databund.cli.audit:verify",
        "Verify an exported log, or the evidence of a trade; needs no node, no key of yours and no network.",
        (
            "databund audit verify log.zip --key data.example.com+1a2b3c4d+AbCd...",
            "databund audit verify evidence.zip --key data.example.com+1a2b3c4d+AbCd... --policy witnesses.txt",
        ),
    ),
    Command(
        ("audit", "verifier"),
        "databund.cli.audit_evidence:verifier",
        "Print the verifier of evidence: one Python file to read, keep and run without databund.",
        ("databund audit verifier > verify.py",),
    ),
    Command(
        ("audit", "log"),
        "databund.cli.audit_log:log",
        "Read the audit log: a page, a search, as it comes, or into a file.",
        (
            "databund audit log --order 0x77c01e",
            "databund audit log --kind order.settled --since 7d --export settled.csv",
            "databund audit log --follow",
        ),
        again="Run it again; --after goes on after an index.",
    ),
    Command(
        ("audit", "report"),
        "databund.cli.audit_report:report",
        "Report who did what to which dataset, in which period, under which decision.",
        (
            "databund audit report --since 2026-01-01 --until 2026-04-01",
            "databund audit report --dataset 0x3f9a12 --format csv > report.csv",
        ),
    ),
    Command(
        ("audit", "status"),
        "databund.cli.audit_status:status",
        "Say how long the node's log is, who cosigned it, and where it is anchored.",
        ("databund audit status",),
    ),
    Command(
        ("audit", "fsck"),
        "databund.cli.audit_fsck:fsck",
        "Read a stored log again, and find the first byte that is not what it was.",
        ("databund audit fsck --home shop", "databund audit fsck log.zip"),
    ),
    Command(
        ("audit", "reconcile"),
        "databund.cli.audit_reconcile:reconcile",
        "Compare the audit log with the chain, and name each gap.",
        ("databund audit reconcile", "databund audit reconcile --chain http://127.0.0.1:8545 --json"),
    ),
    Command(
        ("audit", "watch"),
        "databund.cli.audit_watch:watch",
        "Follow a log, and raise an alarm when it is not the log that it was.",
        (
            "databund audit watch https://data.example.com --key data.example.com+1a2b3c4d+AbCd...",
            "databund audit watch https://log.example.com/2026 --policy witnesses.txt --once",
        ),
        again="Run it again; it goes on from the last checkpoint that it verified.",
    ),
    Command(
        ("audit", "timestamp"),
        "databund.cli.audit_timestamp:timestamp",
        "Have outsiders prove when a checkpoint existed, in files that stock tools check.",
        (
            "databund audit timestamp --tsa https://tsa.example.com --tsa-roots roots.pem --to stamped",
            "databund audit timestamp --calendar https://a.pool.opentimestamps.org --to stamped",
            "databund audit timestamp --upgrade --to stamped",
        ),
        again="Run the same command again; what is in the folder stays.",
    ),
    Command(
        ("audit", "attachment"),
        "databund.cli.audit_attachment:attachment",
        "Show what an entry of the log commits to, to the operator and to whom it is about.",
        ("databund audit attachment 0x5f1c...",),
    ),
    Command(
        ("audit", "erase"),
        "databund.cli.audit_attachment:erase",
        "Erase an attachment for good, and say so in the log; only the operator of the node may.",
        ("databund audit erase 0x5f1c... --reason consent_withdrawn",),
    ),
    Command(
        ("witness", "serve"),
        "databund.cli.witness:serve",
        "Run a witness that cosigns the checkpoints of logs.",
        ("databund witness serve --home witness --log data.example.com+1a2b3c4d+AbCd...",),
    ),
    Command(
        ("witness", "show"),
        "databund.cli.witness:show",
        "Show the keys of the witness in this home.",
        ("databund witness show --home witness",),
    ),
    Command(
        ("ledger", "verify"),
        "databund.cli.ledger:verify",
        "Replay the chain of a node from its first block, and compare every state.",
        ("databund ledger verify --home shop",),
    ),
    Command(
        ("key", "new"),
        "databund.cli.key:new",
        "Make a key.",
        ("databund key new", "databund key new lab --passphrase-file lab.txt"),
    ),
    Command(
        ("key", "list"),
        "databund.cli.key:list_",
        "List the keys in the home.",
        ("databund key list",),
    ),
    Command(
        ("key", "show"),
        "databund.cli.key:show",
        "Show the addresses of a key.",
        ("databund key show", "databund key show lab --address"),
    ),
    Command(
        ("key", "export"),
        "databund.cli.key:export",
        "Write a key, locked by its passphrase, for a backup or another wallet.",
        ("databund key export lab --to lab.json",),
    ),
    Command(
        ("key", "import"),
        "databund.cli.key:import_",
        "Bring a key from a keystore file (Web3 Secret Storage, as geth and wallets write it).",
        ("databund key import lab.json lab",),
    ),
    Command(
        ("config", "show"),
        "databund.cli.config:show",
        "Show every setting, its value, and where the value comes from.",
        ("databund config show", "databund config show --profile work"),
    ),
    Command(
        ("completion",),
        "databund.cli.completion:completion",
        "Print the completion script of a shell.",
        ('eval "$(databund completion bash)"', "databund completion fish > ~/.config/fish/completions/databund.fish"),
    ),
)


def find(words: tuple[str, ...]) -> Command | None:
    """The command of exactly these words."""
    return next((command for command in COMMANDS if command.words == words), None)


def within(topic: str) -> Iterator[Command]:
    """The commands that begin with this word, in the order of the table."""
    return (command for command in COMMANDS if command.words[0] == topic)
