"""The texts of the pages, in every language, and the choice of one.

Each row of `TABLE` is one text, with ``{names}`` for what is filled in. Negotiation follows RFC 9110, section 12.5.4.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from databund.web.markup import Markup, fill

__all__ = ["TABLE", "Language", "Texts", "negotiated"]


class Language(StrEnum):
    """A language that the pages speak, by its tag (RFC 5646)."""

    ENGLISH = "en"
    CHINESE = "zh"


TABLE: Mapping[str, Mapping[Language, str]] = {
    key: {Language.ENGLISH: english, Language.CHINESE: chinese}
    for key, english, chinese in (
        ("title", "Audit log", "审计日志"),
        ("title.halted", "HALTED – Audit log", "已停止 – 审计日志"),
        ("lead", "Every act on this exchange is an entry of this log.", "本平台的每一项行为都是此日志中的一个条目。"),
        ("languages", "Language", "语言"),
        ("good", "Witnesses cosign this log as its policy asks.", "见证方按策略联署此日志。"),
        ("empty", "The log is empty.", "日志为空。"),
        (
            "empty.more",
            "The first act writes the first entry; then there is a checkpoint to verify.",
            "第一项行为会写入第一个条目，届时即有可供验证的检查点。",
        ),
        ("unwatched", "No witness watches this log.", "没有见证方监督此日志。"),
        (
            "unwatched.more",
            "Its operator signs it alone. Without witnesses, whoever follows the log can see that its history stayed "
            "the same, but not that everybody is shown the same history.",
            "日志仅由运营方签名。没有见证方时，持续跟踪日志者能看到历史未被改动，但无法确认所有人看到的是同一份历史。",
        ),
        ("unmet", "The witness policy has not been met yet.", "见证策略尚未满足。"),
        (
            "unmet.more",
            "Too few witnesses have cosigned a checkpoint; the log goes on and they are asked again.",
            "联署检查点的见证方数量不足；日志照常运行，节点会再次请求联署。",
        ),
        ("late", "The witnesses last cosigned {when}.", "见证方最近一次联署：{when}。"),
        (
            "late.more",
            "They are asked every hour, also when nothing is new.",
            "即使没有新条目，节点也会每小时请求一次联署。",
        ),
        (
            "trouble",
            "The witness policy is met, but {count} of {all} witnesses had trouble.",
            "见证策略已满足，但 {all} 个见证方中有 {count} 个出现问题。",
        ),
        ("halted", "This log is halted: nothing is signed any more.", "此日志已停止：不再签署任何内容。"),
        (
            "halted.more",
            "What was signed before remains verifiable below. The operator has to find out why.",
            "此前签署的内容仍可按下文验证。运营方须查明原因。",
        ),
        ("halted.reason", "Reason: {reason}", "原因：{reason}"),
        (
            "halted.fork",
            "A witness holds a checkpoint, signed with this log’s key, that this database does not contain.",
            "某见证方持有一份以此日志密钥签名的检查点，而本数据库中并不存在它。",
        ),
        ("log", "The log", "日志"),
        ("log.name", "Name", "名称"),
        ("log.key", "Verifier key", "验证公钥"),
        ("log.size", "Entries", "条目数"),
        ("log.root", "Root", "根哈希"),
        ("log.none", "none yet", "尚无"),
        ("witnesses", "Witnesses", "见证方"),
        (
            "witnesses.met",
            "The policy is met for {size} of {all} entries, as of {when}.",
            "策略已满足至第 {size} 个条目（共 {all} 个），最近一次：{when}。",
        ),
        (
            "witnesses.met.all",
            "The policy is met for all {all} entries, as of {when}.",
            "策略对全部 {all} 个条目均已满足，最近一次：{when}。",
        ),
        ("witnesses.unmet", "The policy has not been met for any size yet.", "策略从未满足过。"),
        ("witnesses.no_policy", "The operator named no witness policy.", "运营方未指定见证策略。"),
        ("witnesses.none", "The policy names no witness.", "策略未列出任何见证方。"),
        ("witness", "Witness", "见证方"),
        ("witness.state", "State", "状态"),
        ("witness.size", "Last size", "最近大小"),
        ("witness.at", "When", "时间"),
        ("witness.good", "cosigned", "已联署"),
        ("witness.waiting", "not yet", "尚未联署"),
        ("witness.unasked", "not asked: the policy gives no URL", "未请求：策略未给出 URL"),
        ("witness.trouble", "trouble", "出现问题"),
        ("anchor", "Anchor on the chain", "链上锚定"),
        ("anchor.off", "The operator turned anchoring off.", "运营方已关闭锚定。"),
        ("anchor.none", "Nothing is anchored yet.", "尚无锚定。"),
        ("anchor.size", "Entries", "条目数"),
        ("anchor.at", "Sent", "发送时间"),
        ("anchor.state", "State", "状态"),
        ("anchor.on_chain", "on the chain", "已上链"),
        ("anchor.under_way", "on its way to the chain", "正在上链"),
        ("anchor.root", "Root", "根哈希"),
        ("anchor.chain_transaction", "Chain transaction", "链上交易"),
        ("anchor.deferred", "The next one is deferred:", "下一次锚定已推迟："),
        ("check", "Check it yourself", "自行验证"),
        (
            "check.lead",
            "This page is the node’s own word and proves nothing. The checkpoint, its cosignatures and the chain do. "
            "Compare the verifier key with one from a source you trust.",
            "本页仅为节点自述，不构成证明；检查点、联署签名和链才是证明。请将验证公钥与可信来源的公钥核对。",
        ),
        (
            "check.watch",
            "Follow the log, and be warned of a fork, a rollback or silence:",
            "持续跟踪日志，遇到分叉、回滚或长时间静默时收到告警：",
        ),
        (
            "check.verify",
            "Take a copy of the whole log, and verify it offline:",
            "取得整份日志的副本，离线验证：",
        ),
        (
            "check.go",
            "Without our software, by Go’s golang.org/x/mod/sumdb/note and tlog, over {tiles}:",
            "不用我们的软件：用 Go 的 golang.org/x/mod/sumdb/note 和 tlog，读取 {tiles} 下的数据：",
        ),
        ("links", "For programs", "供程序使用"),
        ("links.checkpoint", "Checkpoint, as the witnesses cosigned it", "检查点（见证方已联署）"),
        ("links.newest", "Newest signed checkpoint", "最新签名的检查点"),
        ("links.status", "This status as JSON", "本页状态（JSON）"),
        ("links.openapi", "All routes (OpenAPI)", "全部接口（OpenAPI）"),
        ("made", "As of {time}, by databund {version}.", "截至 {time}，由 databund {version} 生成。"),
        ("ahead", "in the future, by this node’s clock", "晚于本节点时钟的时刻"),
        ("now", "just now", "刚刚"),
        ("ago.second", "1 second ago", "1 秒前"),
        ("ago.seconds", "{count} seconds ago", "{count} 秒前"),
        ("ago.minute", "1 minute ago", "1 分钟前"),
        ("ago.minutes", "{count} minutes ago", "{count} 分钟前"),
        ("ago.hour", "1 hour ago", "1 小时前"),
        ("ago.hours", "{count} hours ago", "{count} 小时前"),
        ("ago.day", "1 day ago", "1 天前"),
        ("ago.days", "{count} days ago", "{count} 天前"),
    )
}  # fmt: skip


class Texts:
    """The texts in one language."""

    def __init__(self, language: Language) -> None:
        self.language = language

    def __call__(self, key: str, **values: str) -> Markup:
        """The text of this key, with the values filled in and escaped."""
        return fill(TABLE[key][self.language], **values)


def negotiated(asked: str | None, accepted: str) -> Language:
    """The language to answer in.

    ``asked`` (of the query ``lang``) decides, where it is one that we speak; else ``accepted``, an ``Accept-Language``
    header. English where neither names a language of ours.
    """
    if asked in tuple(Language):
        return Language(asked)
    best, best_weight = Language.ENGLISH, 0.0
    for choice in accepted.split(","):
        tag, _, parameters = choice.partition(";")
        language, weight = tag.strip().lower().partition("-")[0], _weight(parameters)
        if language in tuple(Language) and weight > best_weight:
            best, best_weight = Language(language), weight
    return best


def _weight(parameters: str) -> float:
    """The ``q`` of a choice, from 0 to 1; 0 where it cannot be read."""
    name, _, value = parameters.strip().partition("=")
    if not name:
        return 1.0
    digits = value.strip()
    if name.strip().lower() != "q" or not digits.isascii() or not digits.replace(".", "", 1).isdigit():
        return 0.0
    return min(1.0, float(digits))
