"""What a factory needs and provides, and the order that follows."""

import functools
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, NewType, Optional

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from botctl.core.errors import AssemblyError, CircularNeed, ConfigError, ExitCode, MissingNeed
from botctl.core.services.dependencies import Spec, in_order, load_factory
from botctl.core.signatures import Parameter, label, parameters_of, provided_by

HERE = "tests.unit.core.services.sample_services"


class Redis:
    pass


class Bot:
    pass


class App:
    pass


KEYS = [type(f"S{i}", (), {}) for i in range(12)]
Spare = NewType("Spare", Redis)


@asynccontextmanager
async def bot(redis: Redis, spare: Spare, other: Optional[App] = None, limit: "int" = 3) -> AsyncIterator[Bot]:  # noqa: UP045
    yield Bot()


def a_spec(key: Any, *needs: Any, optional: Any = (), depends_on: Any = ()) -> Spec:
    parameters = [Parameter(f"p{i}", need, need in optional) for i, need in enumerate(needs)]
    return Spec(key, label(key), lambda: None, tuple(parameters), depends_on, 1, 1, None)  # type: ignore[arg-type]


def order(*specs: Spec, values: Any = (), wanted: Any = ()) -> list[Any]:
    by_key = {spec.key: spec for spec in specs}
    return [spec.key for spec in in_order(by_key, values, wanted or by_key)]


class TestParameters:
    def test_parameters_are_read_from_annotations(self):
        assert parameters_of(bot) == (
            Parameter("redis", Redis, optional=False),
            Parameter("spare", Spare, optional=False),
            Parameter("other", App, optional=True),
            Parameter("limit", int, optional=True),
        )

    def test_bound_argument_of_partial_is_not_a_dependency(self):
        assert [p.name for p in parameters_of(functools.partial(bot, redis=Redis()))] == ["spare", "other", "limit"]
        assert [p.name for p in parameters_of(functools.partial(bot, Redis()))] == ["spare", "other", "limit"]

    def test_parameters_of_a_class_come_from_its_init(self):
        class Roll:
            def __init__(self, redis: Redis, *rest: int, **more: int) -> None: ...

        assert parameters_of(Roll) == (Parameter("redis", Redis, optional=False),)
        assert parameters_of(App) == ()

    def test_parameters_of_dataclass_method_and_callable_object_are_read(self):
        @dataclass
        class Poll:
            redis: Redis

            def factory(self, bot: Bot) -> None: ...

            def __call__(self, app: App) -> None: ...

        poll = Poll(Redis())
        assert [p.key for p in parameters_of(Poll)] == [Redis]
        assert [p.key for p in parameters_of(poll.factory)] == [Bot]
        assert [p.key for p in parameters_of(poll)] == [App]

    def test_parametrised_generic_is_a_separate_key(self):
        def wants(table: dict[str, int]) -> None: ...

        assert parameters_of(wants)[0].key == dict[str, int]

    def test_missing_annotation_without_default_is_an_error(self):
        def wants(thing): ...

        def has(thing=3): ...

        with pytest.raises(AssemblyError, match=r"parameter thing of .*wants has no annotation"):
            parameters_of(wants)
        assert parameters_of(has) == ()

    def test_unresolvable_annotation_is_an_error(self):
        def wants(thing: "Nowhere"): ...  # noqa: F821  # type: ignore[name-defined]

        with pytest.raises(AssemblyError, match=r"parameter thing of .*wants cannot be read: name 'Nowhere'") as caught:
            parameters_of(wants)
        assert "TYPE_CHECKING" in caught.value.hint


class TestProvided:
    def test_provided_type_is_the_annotated_yield_type(self):
        @asynccontextmanager
        async def generator() -> AsyncGenerator[Spare, None]:
            yield Spare(Redis())

        def manager() -> AbstractAsyncContextManager[App]: ...  # type: ignore[empty-body]

        assert provided_by(bot) is Bot
        assert provided_by(functools.partial(bot, limit=4)) is Bot
        assert provided_by(generator) is Spare
        assert provided_by(manager) is App

    def test_factory_that_yields_none_provides_nothing(self):
        @asynccontextmanager
        async def sweeper() -> AsyncIterator[None]:
            yield

        assert provided_by(sweeper) is None


class TestLoad:
    def test_factory_is_found_by_its_name(self):
        assert provided_by(load_factory(f"{HERE}:engine")).__name__ == "Engine"

    @pytest.mark.parametrize(
        ("reference", "sentence"),
        [
            ("engine", "does not name a factory"),
            ("a b:engine", "does not name a factory"),
            (":engine", "does not name a factory"),
            (f"{HERE}:", "does not name a factory"),
            ("tests.nowhere:engine", "there is no module tests.nowhere"),
            ("nowhere_at_all:engine", "there is no module nowhere_at_all"),
            (f"{HERE}:motor", "has no motor"),
            (f"{HERE}:number", "is not a factory, it is of type int"),
            (f"{HERE}:undecorated", "undecorated is not an async context manager"),
            (f"{HERE}:coroutine", "coroutine is not an async context manager"),
            (f"{HERE}:plain", "plain has no return annotation that says what it yields"),
            (f"{HERE}:unsaid", "unsaid has no return annotation that says what it yields"),
            (f"{HERE}:Engine", "Engine has no return annotation that says what it yields"),
            (f"{HERE}:untyped", "parameter wheels of .*untyped has no annotation"),
            (f"{HERE}:hidden", "name 'Decimal' is not defined"),
        ],
    )
    def test_invalid_factory_name_is_explained(self, reference, sentence):
        with pytest.raises(ConfigError, match=sentence) as caught:
            load_factory(reference)
        assert caught.value.exit_code is ExitCode.CONFIG
        assert caught.value.hint

    @pytest.mark.parametrize(
        ("source", "sentence"),
        [
            ("import surely_not_installed", "cannot be imported: ModuleNotFoundError: No module named 'surely_not"),
            ("1 / 0", "cannot be imported: ZeroDivisionError"),
            ("def (", "cannot be imported: SyntaxError"),
        ],
    )
    def test_broken_module_differs_from_missing_module(self, tmp_path, monkeypatch, source, sentence):
        (tmp_path / "broken_service.py").write_text(source)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "broken_service", raising=False)
        with pytest.raises(ConfigError, match=sentence) as caught:
            load_factory("broken_service:factory")
        assert caught.value.__cause__ is not None


class TestOrder:
    def test_dependencies_come_first_in_any_registration_order(self):
        assert order(a_spec(App, Bot), a_spec(Bot, Redis), a_spec(Redis)) == [Redis, Bot, App]

    def test_only_wanted_services_and_their_dependencies_are_ordered(self):
        specs = (a_spec(App, Bot), a_spec(Bot, Redis), a_spec(Redis), a_spec(int))
        assert order(*specs, wanted=[Bot]) == [Redis, Bot]
        assert order(*specs, wanted=[int]) == [int]

    def test_value_is_available_without_a_start(self):
        assert order(a_spec(Bot, Redis), values=[Redis]) == [Bot]
        assert order(a_spec(Bot, Redis), values=[Redis], wanted=[Redis]) == []

    def test_optional_dependency_counts_only_if_provided(self):
        bot = a_spec(Bot, Redis, optional=[Redis])
        assert order(bot) == [Bot]
        assert order(bot, a_spec(Redis), wanted=[Bot]) == [Redis, Bot]

    def test_depends_on_is_a_dependency(self):
        assert order(a_spec(Bot, depends_on=(Redis,)), a_spec(Redis), wanted=[Bot]) == [Redis, Bot]

    @pytest.mark.parametrize("wanted", [(App,), ()])
    def test_missing_dependency_names_the_path(self, wanted):
        with pytest.raises(MissingNeed) as caught:
            order(a_spec(Bot, Redis), a_spec(App, Bot), wanted=wanted)
        assert str(caught.value) == "Redis is not registered; Bot needs it, which App needs"
        assert "[services]" in caught.value.hint

    def test_missing_dependency_names_only_wanted_services(self):
        with pytest.raises(MissingNeed, match=r"^Redis is not registered; Bot needs it$"):
            order(a_spec(Bot, Redis), a_spec(App, Bot), wanted=[Bot])
        with pytest.raises(MissingNeed, match=r"^Redis is not registered$"):
            order(a_spec(Bot), wanted=[Redis])

    def test_unwanted_service_may_lack_a_dependency(self):
        assert order(a_spec(Bot, Redis), a_spec(App), wanted=[App]) == [App]

    def test_circular_dependency_names_the_path(self):
        with pytest.raises(CircularNeed, match=r"in a circle: Redis -> App -> Bot -> Redis$"):
            order(a_spec(Redis, App), a_spec(Bot, Redis), a_spec(App, Bot), a_spec(int, Bot))
        with pytest.raises(CircularNeed, match=r"in a circle: Bot -> Bot$"):
            order(a_spec(Bot, Bot))

    def test_missing_dependency_behind_a_circle_is_reported_briefly(self):
        with pytest.raises(MissingNeed, match=r"^Redis is not registered; Bot needs it, which App needs$"):
            order(a_spec(App, Bot), a_spec(Bot, App, Redis))

    @settings(deadline=None)
    @given(st.data())
    def test_each_service_comes_once_after_its_dependencies(self, data):
        keys = KEYS[: data.draw(st.integers(1, len(KEYS)))]
        needs = {k: data.draw(st.sets(st.sampled_from(keys[:i]))) if i else set() for i, k in enumerate(keys)}
        specs = [a_spec(key, *needs[key]) for key in data.draw(st.permutations(keys))]
        wanted = data.draw(st.sets(st.sampled_from(keys), min_size=1))
        got = order(*specs, wanted=wanted)
        assert len(set(got)) == len(got)
        assert wanted <= set(got)
        assert all(need in got[:i] for i, key in enumerate(got) for need in needs[key])
        assert all(key in wanted or any(key in needs[other] for other in got) for key in got)
