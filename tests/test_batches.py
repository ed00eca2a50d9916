"""Which examples an epoch holds, and that a run can continue anywhere in it."""

from collections import Counter
from itertools import chain, islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ner_edge.train.batches import Schedule, Share

shares = st.lists(
    st.builds(Share, st.integers(1, 30), st.floats(0.1, 3.5)).filter(lambda s: s.per_epoch),
    min_size=1,
    max_size=4,
)


def schedule(*parts: Share, batch_size: int = 8, seed: int = 3, epochs: float = 1) -> Schedule:
    count = sum(part.examples for part in parts)
    return Schedule([(i * 37) % 50 for i in range(count)], parts, batch_size, epochs, seed)


def held(plan: list[list[int]]) -> Counter[int]:
    return Counter(chain.from_iterable(plan))


def test_an_epoch_holds_each_sentence_once_and_depends_on_seed_and_epoch_only() -> None:
    plan = schedule(Share(101)).epoch(0)
    assert held(plan) == Counter(range(101))
    assert plan == schedule(Share(101)).epoch(0)
    assert plan != schedule(Share(101)).epoch(1)
    assert plan != schedule(Share(101), seed=4).epoch(0)


@given(shares, st.integers(0, 3))
def test_an_epoch_holds_weight_times_each_file(parts: list[Share], number: int) -> None:
    plan = schedule(*parts)
    counts = held(plan.epoch(number))
    assert len(plan.epoch(number)) == plan.steps_per_epoch
    first = 0
    for part in parts:
        times = [counts[i] for i in range(first, first + part.examples)]
        assert sum(times) == part.per_epoch
        assert abs(part.per_epoch - part.weight * part.examples) <= 0.5 + 1e-9
        assert all(int(part.weight) <= n <= int(part.weight) + 1 for n in times), "evenly"
        first += part.examples
    assert counts.total() == sum(part.per_epoch for part in parts)


def test_a_fraction_is_drawn_anew_for_each_epoch() -> None:
    plan = schedule(Share(10), Share(100, 0.3))
    drawn = [{i for i in held(plan.epoch(n)) if i >= 10} for n in range(3)]
    assert [len(part) for part in drawn] == [30, 30, 30]
    assert drawn[0] != drawn[1] != drawn[2]
    assert drawn[0] == {i for i in held(plan.epoch(0)) if i >= 10}


@given(shares)
def test_batches_continue_from_any_step_over_epochs(parts: list[Share]) -> None:
    plan = schedule(*parts, epochs=2.5)
    every = [batch for number in range(3) for batch in plan.epoch(number)]
    assert plan.steps == pytest.approx(2.5 * plan.steps_per_epoch, abs=0.5)
    for step in (0, len(every) // 2, len(every) - 1):
        assert list(islice(plan.batches_from(step), len(every) - step)) == every[step:]


def test_one_file_of_weight_one_is_trained_as_ever() -> None:
    """So that earlier runs can be repeated: the order of the release before weights existed."""
    plan = Schedule([5, 3, 9, 1, 7], [Share(5)], 2, 1, 7)
    assert plan.epoch(0) == [[3, 1], [0, 4], [2]]
    assert plan.epoch(1) == [[3, 1], [2], [0, 4]]
