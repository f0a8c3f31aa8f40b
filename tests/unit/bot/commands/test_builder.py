"""Building disnake's commands from Command classes, and the faults it reports."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import disnake
import pytest
from disnake.ext import commands

from botctl.bot.commands.builder import build
from botctl.bot.commands.command import Command, MessageCommand, UserCommand, command_name, component, modal
from botctl.bot.commands.compiled import CompiledCommand, ValidationContext
from botctl.core.contracts.invocation import Kind
from botctl.core.contracts.throttle import parse

LIMITS = parse("5/10s per user")


class Store:
    """A service."""


def build_command(cls: type[Command], **context: Any) -> tuple[CompiledCommand | None, list[str]]:
    faults: list[str] = []
    known = ValidationContext(**({"roles": {"admin", "helper"}, "limits": LIMITS} | context))
    return build(cls, known, lambda _, sentence: faults.append(sentence)), faults


def test_class_becomes_a_slash_command_with_options():
    class RollDice(Command):
        """Roll
        some dice.

        More about it."""

        async def execute(self, ctx, sides: commands.Range[int, 2, 100], who: disnake.User | None = None, n: int = 1):
            """
            Parameters
            ----------
            sides: How many sides
            """

    compiled, faults = build_command(RollDice)
    assert faults == []
    assert compiled is not None
    body = compiled.invokable.body
    assert (body.name, body.description) == ("roll-dice", "Roll some dice.")
    assert [(o.name, o.type.name, o.required, o.description) for o in body.options] == [
        ("sides", "integer", True, "How many sides"),
        ("who", "user", False, "-"),
        ("n", "integer", False, "-"),
    ]
    assert (body.options[0].min_value, body.options[0].max_value) == (2, 100)
    assert compiled.policies[Kind.SLASH, "roll-dice"].limits == LIMITS


def test_nested_commands_inherit_options_from_the_class_around_them():
    class Ops(Command):
        """Operate."""

        roles = ("admin",)
        defer = "ephemeral"
        throttle = "1/1s global"

        async def execute_show_all(self, ctx, n: int = 1):
            """Show."""

        class Cache(Command):
            """The cache."""

            throttle = ""

            async def execute_clear(self, ctx):
                """Clear it."""

        class Restart(Command):
            """Restart it."""

            roles = ("helper",)
            defer = False

            async def execute(self, ctx):
                pass

    compiled, faults = build_command(Ops)
    assert faults == []
    assert compiled is not None
    tree = {o.name: (o.type.name, [c.name for c in o.options]) for o in compiled.invokable.body.options}
    assert tree == {
        "show-all": ("sub_command", ["n"]),
        "cache": ("sub_command_group", ["clear"]),
        "restart": ("sub_command", []),
    }
    assert {name: (len(r.limits), r.roles) for (_, name), r in compiled.policies.items()} == {
        "ops show-all": (1, ("admin",)),
        "ops cache clear": (0, ("admin",)),
        "ops restart": (1, ("helper",)),
        "ops": (1, ("admin",)),
        "ops cache": (0, ("admin",)),
    }
    specs = compiled.handler_specs
    assert {spec.method: spec.defer for spec in specs if spec.cls.__name__ == "Restart"} == {"execute": False}
    assert {spec.defer for spec in specs if spec.cls.__name__ != "Restart"} == {"ephemeral"}


def test_each_class_is_instantiated_once_with_its_services():
    calls: list[type] = []

    class Two(Command):
        """Two."""

        def __init__(self, store: Store) -> None:
            self.store = store

        async def execute_a(self, ctx):
            """A."""

        async def execute_b(self, ctx):
            """B."""

    def resolve(cls: type) -> dict[str, Any]:
        calls.append(cls)
        return {"store": Store()}

    compiled, faults = build_command(Two)
    assert faults == []
    assert compiled is not None
    methods = compiled.bind(resolve)
    assert calls == [Two]
    assert len({id(methods[spec].__self__) for spec in compiled.handler_specs}) == 1


def test_components_and_forms_are_found_by_custom_id_prefix():
    class Poll(Command):
        """Ask."""

        async def execute(self, ctx):
            pass

        @component("vote")
        async def vote(self, ctx, choice: str):
            pass

        @modal("vote")
        async def form(self, ctx):
            pass

    compiled, _ = build_command(Poll)
    assert compiled is not None
    assert {key: spec.method for key, spec in compiled.handlers.items()} == {
        (Kind.COMPONENT, "poll:vote"): "vote",
        (Kind.MODAL, "poll:vote"): "form",
    }
    assert Poll().custom_id("vote", 7, "x") == "poll:vote:7:x"
    with pytest.raises(ValueError, match="colon"):
        Poll().custom_id("vote", "a:b")
    with pytest.raises(ValueError, match="100"):
        Poll().custom_id("vote", "x" * 100)


def test_context_menu_command_has_custom_ids_of_its_kind():
    class Ban(UserCommand):
        """Not the slash command of this name."""

        async def execute(self, ctx, user):
            pass

        @component("sure")
        async def sure(self, ctx):
            pass

    compiled, faults = build_command(Ban)
    assert faults == []
    assert compiled is not None
    assert list(compiled.policies) == [(Kind.USER, "ban")]
    assert list(compiled.handlers) == [(Kind.COMPONENT, "user/ban:sure")]
    assert Ban().custom_id("sure", 7) == "user/ban:sure:7"


@pytest.mark.parametrize("name", ["a:b", "*", "?"])
def test_reserved_name_of_a_handler_is_a_fault(name: str):
    class Poll(Command):
        """Ask."""

        async def execute(self, ctx):
            pass

        @component(name)
        async def vote(self, ctx):
            pass

    compiled, faults = build_command(Poll)
    assert compiled is None
    assert len(faults) == 1


def test_nested_commands_have_their_own_buttons_and_policies():
    class Item(Command):
        """An item."""

        roles = ("helper",)

        async def execute(self, ctx):
            pass

        @component("done")
        async def done(self, ctx):
            pass

    class Todo(Command):
        """What is to be done."""

        roles = ("admin",)
        one = Item

        class Deep(Command):
            """A group."""

            two = Item

            @component("done")
            async def done(self, ctx):
                pass

        @component("done")
        async def done(self, ctx):
            pass

    compiled, faults = build_command(Todo)
    assert faults == []
    assert compiled is not None
    assert {key for _, key in compiled.handlers} == {
        "todo:done",
        "todo item:done",
        "todo deep:done",
        "todo deep item:done",
    }
    assert {name: policy.roles for (_, name), policy in compiled.policies.items()} == {
        "todo": ("admin",),
        "todo item": ("helper",),
        "todo deep": ("admin",),
        "todo deep item": ("helper",),
    }
    methods = compiled.bind(lambda _: {})
    for (_, key), spec in compiled.handlers.items():
        assert methods[spec].__self__.custom_id("done") == key


def test_commands_are_deferred_by_default_but_buttons_are_not():
    class Slow(Command):
        """It may take its time."""

        async def execute(self, ctx):
            pass

        @component("x")
        async def x(self, ctx):
            pass

    compiled, _ = build_command(Slow)
    assert compiled is not None
    assert [spec.defer for spec in compiled.handler_specs] == ["public"]
    assert [spec.defer for spec in compiled.handlers.values()] == [False]


@pytest.mark.parametrize(
    ("attribute", "option"),
    [("role", "roles"), ("rolse", "roles"), ("trottle", "throttle"), ("guildonly", "guild_only"), ("defered", "defer")],
)
def test_misspelled_option_is_a_fault(attribute: str, option: str):
    base = type("_Staff", (Command,), {attribute: ("admin",)})
    compiled, faults = build_command(type("X", (base,), {"__doc__": "X.", "execute": _plain}))
    assert compiled is None
    question = f"X.{attribute} is not an option of botctl; did you mean {option}?"
    assert faults == [f"{question} (if it is your own attribute, name it _{attribute})"]


def test_other_attributes_of_a_command_are_allowed():
    own = {"game": "chess", "limit": 3, "ROLE": "x", "_role": ("x",), "rolls": _plain, "guild": None, "WORDS": {}}
    compiled, faults = build_command(type("X", (Command,), {"__doc__": "X.", "execute": _plain, **own}))
    assert faults == []
    assert compiled is not None


@pytest.mark.parametrize(("class_name", "name"), [("Ping", "ping"), ("WhoIs", "who-is"), ("Roll2Dice", "roll2-dice")])
def test_command_names_are_kebab_case(class_name: str, name: str):
    assert command_name(type(class_name, (Command,), {})) == name


def test_context_menu_commands_take_one_target():
    class WhoIs(UserCommand):
        name = "Who is"

        async def execute(self, ctx, user: disnake.User) -> None:
            pass

    class Quote(MessageCommand):
        async def execute(self, ctx, message) -> None:
            pass

    for cls, kind, name in ((WhoIs, disnake.UserCommand, "Who is"), (Quote, disnake.MessageCommand, "quote")):
        compiled, faults = build_command(cls)
        assert faults == []
        assert compiled is not None
        assert isinstance(compiled.invokable.body, kind)
        assert compiled.invokable.body.name == name


async def _ok(self: Any, ctx: Any) -> None:
    """Fine."""


async def _no_context(self: Any) -> None:
    pass


async def _only_option(self: Any, name) -> None:
    pass


async def _only_annotated_option(self: Any, name: str) -> None:
    pass


async def _interaction(self: Any, inter, name: str = "") -> None:
    pass


async def _annotated_interaction(self: Any, x: disnake.ApplicationCommandInteraction) -> None:
    pass


async def _yields(self: Any, ctx: Any) -> AsyncIterator[int]:
    yield 1


async def _long_choice(self: Any, ctx: Any, word: str = commands.Param(choices=["x" * 101])) -> None:
    pass


async def _same_choices(
    self: Any,
    ctx: Any,
    word: str = commands.Param(choices=[disnake.OptionChoice("a", "1"), disnake.OptionChoice("a", "2")]),
) -> None:
    pass


async def _many_choices(self: Any, ctx: Any, word: str = commands.Param(choices=[str(n) for n in range(26)])) -> None:
    """Sub."""


async def _bare_option(self: Any, ctx: Any, n=1) -> None:
    pass


async def _var_args(self: Any, ctx: Any, *rest: str) -> None:
    pass


async def _unsupported_type(self: Any, ctx: Any, n: list[int]) -> None:
    pass


async def _unreadable(self: Any, ctx: Any, n: Nowhere) -> None:  # type: ignore[name-defined]  # noqa: F821
    pass


async def _upper(self: Any, ctx: Any, Big: int) -> None:  # noqa: N803
    pass


def _sync(self: Any, ctx: Any) -> None:
    pass


async def _plain(self: Any, ctx: Any) -> None:
    pass


async def _colon(self: Any, ctx: Any) -> None:
    pass


def _needs(self: Any, store: Store) -> None:
    pass


def _no_annotation(self: Any, store) -> None:
    pass


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({}, "has no execute"),
        ({"execute": _sync}, "not an async function"),
        ({"execute": _no_context}, "at least (self, ctx)"),
        ({"execute": _only_option}, "at least (self, ctx)"),
        ({"execute": _only_annotated_option}, "at least (self, ctx)"),
        ({"execute": _interaction}, "not an interaction, which is ctx.inter"),
        ({"execute": _annotated_interaction}, "not an interaction, which is ctx.inter"),
        ({"execute": _yields}, "execute yields"),
        ({"execute": _long_choice}, "the name of choice 'xxxx"),
        ({"execute": _same_choices}, "option word has two choices called 'a'"),
        ({"execute": _many_choices}, "option word has 26 choices"),
        ({"execute": _ok, "a": component("x")(_no_context)}, "a takes at least (self, ctx)"),
        ({"execute": _bare_option}, "option n has no annotation"),
        ({"execute": _var_args}, "cannot be an option"),
        ({"execute": _unsupported_type}, "list"),
        ({"execute": _unreadable}, "the annotation of parameter n of _unreadable cannot be read: name 'Nowhere'"),
        ({"execute": _upper}, "Big"),
        ({"execute": _ok, "__doc__": None}, "has no docstring"),
        ({"execute": _ok, "__doc__": "x" * 101}, "has 101 characters"),
        ({"execute": _ok, "name": "Not A Name"}, "lower-case"),
        ({"execute": _ok, "throttle": "often"}, "throttle limit 'often'"),
        ({"execute": _ok, "throttle": 5}, "'int'"),
        ({"execute": _ok, "roles": "admin"}, "write a tuple"),
        ({"execute": _ok, "roles": ("boss",)}, "role 'boss' is not in the settings"),
        ({"execute": _ok, "defer": "maybe"}, "'public' or 'ephemeral'"),
        ({"execute": _ok, "execute_more": _ok}, "Discord calls only the sub-commands"),
        ({"execute_Bad": _ok}, "lower-case"),
        ({"execute": _ok, "__init__": _needs}, "needs Store, which no service provides"),
        ({"execute": _ok, "__init__": _no_annotation}, "no annotation"),
        ({"execute": _ok, "a": component("x")(_ok), "b": component("x")(_bare_option)}, "handled twice"),
        ({"execute": _ok, "a": component("x")(_sync)}, "not an async function"),
        ({"execute": _ok, "a": component("x:y")(_colon)}, "has a colon"),
    ],
)
def test_each_fault_is_reported_in_a_sentence(body: dict[str, Any], sentence: str):
    cls = type("Sample", (Command,), {"__doc__": "A sample.", **body})
    compiled, faults = build_command(cls, provides=lambda key: key is not Store)
    assert compiled is None
    assert any(sentence in fault for fault in faults), faults


def test_four_levels_of_nesting_are_a_fault():
    class A(Command):
        """A."""

        class B(Command):
            """B."""

            class C(Command):
                """C."""

                async def execute_d(self, ctx):
                    """D."""

    compiled, faults = build_command(A)
    assert compiled is None
    assert any("too deep" in fault for fault in faults)


def test_all_faults_of_a_class_are_reported_together():
    body: dict[str, Callable[..., Any] | str] = {"execute": _bare_option, "throttle": "often", "roles": "admin"}
    _, faults = build_command(type("Sample", (Command,), body))
    assert len(faults) >= 2
