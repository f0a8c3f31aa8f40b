"""Privileged intents: what needs them, whether Discord grants them, and how near the review is. Pure.

Discord: Gateway > Privileged Intents. Since June 2026 Discord reviews them each year for every app that reaches 10,000
users, apart from its verification.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from botctl.core.escape import safe
from botctl.doctor.code_reading import CodeFact, CodeRead, FactKind
from botctl.doctor.finding import Finding, fault, ok, unknown
from botctl.doctor.needs import Basis, Need, of, shortened

PRIVILEGED: Final = ("members", "presences", "message_content")
REVIEW_USERS: Final = 10_000
NEAR_REVIEW: Final = 0.8
# Discord: Application > Application Flags. The first one is given after a review, the second in the portal.
_FLAGS: Final = {"presences": (1 << 12, 1 << 13), "members": (1 << 14, 1 << 15), "message_content": (1 << 18, 1 << 19)}
_EVENTS: Final = {
    "members": (
        *("member_join", "member_remove", "raw_member_remove", "member_update", "raw_member_update", "user_update"),
        *("thread_member_join", "thread_member_remove", "raw_thread_member_remove"),
    ),
    "presences": ("presence_update", "raw_presence_update"),
}
_MESSAGE_EVENTS: Final = ("message", "message_edit", "raw_message_edit")
_CONTENT: Final = ("content", "clean_content", "system_content", "embeds", "attachments", "components")
_GUESSED_CONTENT: Final = ("content", "attachments")  # a bot reads embeds and components mostly of its own messages
_OWN_MESSAGES: Final = ("ctx.message", "inter.message", "interaction.message")  # with the button that was clicked
_CONTENT_ALONE: Final = ("clean_content", "system_content")
_MESSAGES: Final = ("message", "msg", "before", "after")
_MEMBER_READS: Final = ("members",)
_MEMBER_CALLS: Final = ("fetch_members", "get_all_members", "chunk")
_PRESENCE_READS: Final = (
    *("activities", "raw_status", "mobile_status", "desktop_status", "web_status", "is_on_mobile"),
)
_PRESENCE_OF_PEOPLE: Final = ("status", "activity")
_PEOPLE: Final = ("member", "user", "author")


def intent_needs(facts: Iterable[CodeFact]) -> list[Need]:
    """What in the code needs which privileged intent."""
    return [need for fact in facts if (need := _need(fact)) is not None]


def _need(fact: CodeFact) -> Need | None:
    if fact.kind is FactKind.LISTENER:
        waits = f"{fact.owner} waits for {fact.name}"
        found = [
            Need(name, Basis.DECLARED, waits, fact.where) for name, events in _EVENTS.items() if fact.name in events
        ]
        return found[0] if found else None
    if (intent := _intent_of(fact)) is None:
        return None
    what = f"{fact.receiver}.{fact.name}".lstrip(".")
    certain = intent == "message_content" and fact.listener in _MESSAGE_EVENTS
    verb = "calls" if fact.kind is FactKind.CALL else "reads"
    return Need(intent, Basis.DECLARED if certain else Basis.GUESSED, f"{fact.owner} {verb} {what}", fact.where)


def _intent_of(fact: CodeFact) -> str | None:
    """The intent without which what is read or called is empty, as far as its name tells."""
    last = fact.receiver.rpartition(".")[2]
    if fact.kind is FactKind.CALL:
        return "members" if fact.name in _MEMBER_CALLS else None
    if fact.kind is not FactKind.READ:
        return None
    if fact.name in _MEMBER_READS:
        return "members"
    if fact.name in _CONTENT and fact.listener in _MESSAGE_EVENTS:
        return "message_content"
    if fact.name in _PRESENCE_READS or (fact.name in _PRESENCE_OF_PEOPLE and last in _PEOPLE):
        return "presences"
    is_content = fact.name in _CONTENT_ALONE or (fact.name in _GUESSED_CONTENT and last in _MESSAGES)
    is_sent_whole = fact.in_context_menu or fact.receiver in _OWN_MESSAGES
    return "message_content" if is_content and not is_sent_whole else None


@dataclass(frozen=True, slots=True)
class ReachEvidence:
    """How many users the bot reaches. Discord tells no such number: it is between ``fewest`` and ``most``.

    ``members``: of all guilds together, so that who is in two is counted twice. ``largest``: of the largest guild.
    ``installs``: users who installed the app for themselves. ``complete``: whether all guilds were counted.
    """

    members: int
    largest: int
    guilds: int
    installs: int
    complete: bool = True

    @property
    def fewest(self) -> int:
        return max(self.largest, self.installs)

    @property
    def most(self) -> int | None:
        return self.members + self.installs if self.complete else None


@dataclass(frozen=True, slots=True)
class IntentsEvidence:
    """``requested``: the privileged intents in discord.intents. ``flags``: of the application; None: not known."""

    requested: Collection[str]
    flags: int | None
    needs: Sequence[Need]
    reach: ReachEvidence | None


def assess_intents(seen: IntentsEvidence) -> list[Finding]:
    found = [finding for intent in PRIVILEGED for finding in _assess_intent(intent, seen)]
    return [*found, _assess_reach(seen)]


def assess_code(code: CodeRead) -> list[Finding]:
    """What of the code could not be read, so that its needs are not known."""
    if not code.files and not code.unread:
        return [unknown("code", "no Python file was found", "Set commands.folder to the folder of the command files.")]
    mend = "`botctl doctor` says why."
    return [unknown("code", f"{safe(file)} cannot be read, so its needs are not known", mend) for file in code.unread]


def _assess_intent(intent: str, seen: IntentsEvidence) -> list[Finding]:
    certain, guessed = of(seen.needs, intent, Basis.DECLARED, Basis.SEEN), of(seen.needs, intent, Basis.GUESSED)
    needs = shortened([*certain, *guessed])
    if intent not in seen.requested:
        return [_assess_unrequested(intent, certain, needs)]
    if not needs:
        why = "requested, but nothing was found in the code that needs it"
        use = unknown(intent, why, f"If so, remove {intent} from discord.intents: then no review asks for it.")
    else:
        use = ok(intent, f"needed: {needs}")
    return [use, _assess_grant(intent, seen.flags)]


def _assess_unrequested(intent: str, certain: Sequence[Need], needs: str) -> Finding:
    if not needs:
        return ok(intent, "not requested, and not needed")
    mend = f"add {intent!r} to discord.intents (with 'default'), and enable it at Discord's developer portal under Bot."
    if certain:
        return fault(intent, f"not requested, but needed: {needs}", f"A{mend[1:]}")
    return unknown(intent, f"not requested, but perhaps needed: {needs}", f"If something is missing there, {mend}")


def _assess_grant(intent: str, flags: int | None) -> Finding:
    if flags is None:
        return unknown(intent, "whether Discord grants it is not known")
    reviewed, limited = _FLAGS[intent]
    if flags & reviewed:
        return ok(intent, "granted by Discord after a review")
    if flags & limited:
        return ok(intent, "granted by Discord, without a review: switched on in the developer portal")
    mend = "Enable it at Discord's developer portal under Bot, or remove it from discord.intents. "
    return fault(
        intent, "not granted: Discord closes the gateway (4014)", f"{mend}`--without {intent}` rehearses that."
    )


def is_granted(intent: str, flags: int) -> bool:
    return any(flags & flag for flag in _FLAGS[intent])


def _assess_reach(seen: IntentsEvidence) -> Finding:
    if not seen.requested:
        return ok("review", "no privileged intent is requested, so there is nothing to review")
    reach = seen.reach
    if reach is None:
        return unknown("review", "how many users the bot reaches is not known")
    upper = "an unknown number of" if reach.most is None else f"at most {reach.most:,}"
    sentence = f"it reaches {upper} users in {reach.guilds:,} guilds; Discord reviews from {REVIEW_USERS:,} on"
    if reach.fewest >= REVIEW_USERS and not _is_reviewed(seen):
        return fault("review", f"it reaches at least {reach.fewest:,} users, and has had no review", _REVIEW)
    if reach.most is None or reach.most >= REVIEW_USERS:
        return unknown("review", f"{sentence}. When that was last is not known here", _REVIEW)
    return ok("review", f"{sentence}{', which is near' if reach.most >= NEAR_REVIEW * REVIEW_USERS else ''}")


_REVIEW: Final = (
    "Answer the review at Discord's developer portal within 90 days of its notice: what each intent is for (above), "
    "and what is stored for how long. It comes again each year."
)


def _is_reviewed(seen: IntentsEvidence) -> bool:
    flags = seen.flags or 0
    return all(flags & _FLAGS[intent][0] for intent in PRIVILEGED if intent in seen.requested)
