"""Lines of keys, whatever stands between them."""

import json
import tomllib

from hypothesis import given
from hypothesis import strategies as st

from botctl.core.config.toml_lines import key_lines

TEXT = '''\
# a comment with = and [brackets]
bot = "a#b"  # not a comment inside
"quoted = key".x = 1

[discord]
test_guilds = [
  "1",  # ] in a comment
  "2",
]
intents = ["default"]

[roles.admin]
users = []
[roles."odd.name"]
note = """
looks = "like a key"
[and.a.table]
"""
users = ['x = y']
inline = { a = 1, b = { c = 2 } }
[[many]]
x = 1
[[many]]
x = 2
'''


def test_every_key_and_table_has_its_line() -> None:
    tomllib.loads(TEXT)
    assert key_lines(TEXT) == {
        ("bot",): 2,
        ("quoted = key",): 3,
        ("quoted = key", "x"): 3,
        ("discord",): 5,
        ("discord", "test_guilds"): 6,
        ("discord", "intents"): 10,
        ("roles",): 12,
        ("roles", "admin"): 12,
        ("roles", "admin", "users"): 13,
        ("roles", "odd.name"): 14,
        ("roles", "odd.name", "note"): 15,
        ("roles", "odd.name", "users"): 19,
        ("roles", "odd.name", "inline"): 20,
        ("many",): 21,
        ("many", "x"): 22,
    }


def test_an_empty_file_has_no_keys() -> None:
    assert key_lines("") == {}
    assert key_lines("\n# only words\n") == {}


keys = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=8)
values = st.one_of(
    st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=12).map(
        lambda text: json.dumps(text, ensure_ascii=False)
    ),
    st.integers(0, 99).map(str),
    st.just("[\n  1, # ]\n  2,\n]"),
    st.just('"""\na = "b"\n[c]\n"""'),
    st.just("'''\n# '' \n'''"),
    st.just('{ "x = 1" = [1, 2] }'),
)


@given(st.dictionaries(keys, st.dictionaries(keys, values, max_size=4), max_size=4), st.data())
def test_key_has_the_line_where_it_was_written(tree: dict[str, dict[str, str]], data: st.DataObject) -> None:
    lines: list[str] = []
    expected: dict[tuple[str, ...], int] = {}
    for table, entries in tree.items():
        expected[(table,)] = len(lines) + 1
        lines.append(f"[{json.dumps(table, ensure_ascii=False)}]")
        for key, value in entries.items():
            lines.extend([""] * data.draw(st.integers(0, 2)))
            expected[(table, key)] = len(lines) + 1
            lines.extend(f"{json.dumps(key, ensure_ascii=False)} = {value} # = [x]".split("\n"))
    text = "\n".join(lines)
    tomllib.loads(text)
    assert key_lines(text) == expected
