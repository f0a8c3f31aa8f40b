from botctl.core.plural import counted


def test_count_has_a_singular_and_a_plural() -> None:
    assert [counted(number, "limit") for number in (0, 1, 2000)] == ["0 limits", "1 limit", "2,000 limits"]
