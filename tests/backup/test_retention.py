"""Which backups are kept: properties that hold for whatever times and rules there are (G4)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from backup.retention import Keep, kept

START = datetime(2026, 11, 2, tzinfo=UTC)  # a Monday
TIMES = st.dictionaries(
    st.text("abcdefgh", min_size=1, max_size=4),
    st.integers(0, 60 * 24 * 60).map(lambda minutes: START + timedelta(minutes=minutes)),
    max_size=40,
)
COUNTS = st.integers(0, 8)
RULES = st.builds(Keep, COUNTS, COUNTS, COUNTS, COUNTS)


@given(TIMES, RULES)
def test_the_newest_is_always_kept(times: dict[str, datetime], rules: Keep) -> None:
    found = kept(times, rules)
    assert found.keys() <= times.keys()
    assert bool(found) is bool(times)
    if times:
        assert max(times, key=lambda name: (times[name], name)) in found


@given(TIMES, RULES)
def test_a_rule_keeps_as_many_as_it_says_and_no_more(
    times: dict[str, datetime], rules: Keep
) -> None:
    found = kept(times, rules)
    for rule in ("last", "hourly", "daily", "weekly"):
        count = sum(rule in why for why in found.values())
        assert count <= getattr(rules, rule)
    assert sum("last" in why for why in found.values()) == min(rules.last, len(times))
    days = {time.date() for time in times.values()}
    assert sum("daily" in why for why in found.values()) == min(rules.daily, len(days))


@given(TIMES, RULES, RULES)
def test_more_rules_never_keep_less(times: dict[str, datetime], rules: Keep, more: Keep) -> None:
    both = Keep(*(max(pair) for pair in zip(astuple(rules), astuple(more), strict=True)))
    assert kept(times, rules).keys() <= kept(times, both).keys()


@given(TIMES, RULES)
def test_pruning_twice_removes_nothing_more(times: dict[str, datetime], rules: Keep) -> None:
    found = kept(times, rules)
    again = kept({name: times[name] for name in found}, rules)
    assert again == found


def astuple(rules: Keep) -> tuple[int, ...]:
    """Its four counts."""
    return (rules.last, rules.hourly, rules.daily, rules.weekly)


def test_the_last_of_each_period_is_kept() -> None:
    times = {f"{hours:03}": START + timedelta(hours=hours) for hours in range(0, 24 * 21, 6)}
    assert kept(times, Keep(last=2)) == {"498": ("last", "newest"), "492": ("last",)}
    daily = kept(times, Keep(daily=3))
    assert [*daily] == ["498", "474", "450"]
    weekly = kept(times, Keep(weekly=2))
    assert [times[name].isocalendar().week for name in weekly] == [47, 46]
    assert kept(times, Keep()) == {"498": ("newest",)}
    assert kept({}, Keep(last=3)) == {}
