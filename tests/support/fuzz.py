"""Wrong bodies, queries and frames, made from valid ones."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

SCALARS: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([2**31, 2**53, 2**63, 2**64, -(2**63), 10**30, 10**400]),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(
        ["", "0", "1", "-1", "a", "A b", "\x00", "\ud800", "\U0001d4b3" * 40, "x" * 5000, "1" * 400, "@here", "<@1>"]
    ),
    st.text(max_size=8),
)
JSON: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=8,
)
_NAMES = (
    "id name type content embeds components flags options description channel_id user_id role_id position permissions"
    " allow deny parent_id nick roles communication_disabled_until delete_message_seconds reason recipient_id messages"
    " thread_metadata auto_archive_duration available_tags applied_tags default_reaction_emoji message_reference nonce"
    " attachments allowed_mentions poll sticker_ids data custom_id title choices value color colors icon avatar banner"
    " image max_age max_uses target_type target_user_id username tags permission_overwrites rate_limit_per_user"
    " bitrate user_limit topic nsfw archived locked invitable message user_ids days compute_prune_count include_roles"
    " mentionable hoist unicode_emoji min_value max_value required channel_types default_member_permissions contexts"
)
QUERY_NAMES = "limit before after around user_id action_type with_counts wait thread_id query days include_roles"


def mutated(valid: Any) -> st.SearchStrategy[Any]:
    """``valid`` with parts replaced, added or left out, or a different value."""
    if isinstance(valid, dict) and valid:
        fields = {key: mutated(value) for key, value in valid.items()}
        some = st.fixed_dictionaries({}, optional=fields)
        every = st.fixed_dictionaries(fields)
        return st.one_of(every, every, some, JSON, st.builds(lambda left, right: {**left, **right}, some, objects()))
    if isinstance(valid, list) and valid:
        item = st.one_of([mutated(value) for value in valid])
        return st.one_of(st.just(valid), st.lists(item, max_size=30), JSON)
    return st.one_of(st.just(valid), st.just(valid), SCALARS, JSON)


def objects() -> st.SearchStrategy[dict[str, Any]]:
    """Objects with field names of Discord's API."""
    return st.dictionaries(st.sampled_from(_NAMES.split()), JSON, max_size=5)


def queries() -> st.SearchStrategy[dict[str, str]]:
    value = st.one_of(
        st.sampled_from(["", "0", "-1", "1", "101", "9" * 30, "x", "true", "1.5", "²", "٣"]), st.text(max_size=5)
    )
    return st.dictionaries(st.sampled_from(QUERY_NAMES.split()), value, max_size=3)
