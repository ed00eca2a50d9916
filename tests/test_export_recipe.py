"""Recipes: their files, and the types chosen for a size or a loss."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ner_edge.errors import UsageError
from ner_edge.export.quantize.choose_types import Choice, choose_for_loss, choose_for_size
from ner_edge.export.quantize.recipe import Recipe, parse_size, read_recipe


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("types", "not a recipe"),
        ("[types]", r"has no \[types\]"),
        ('[types]\na = "q9"', "a: 'q9' is not a ggml type"),
        ("[types]\na = 4", "Expected `str`, got `int`"),
        ('name = "a/b"\n[types]\na = "q4_0"', "name must be letters"),
    ],
)
def test_damaged_recipes_are_refused(text, message, tmp_path):
    (tmp_path / "r.toml").write_text(text)
    with pytest.raises(UsageError, match=message):
        read_recipe(tmp_path / "r.toml")


@pytest.mark.parametrize("prediction", [None, 1.25, 0.0])
def test_a_recipe_survives_its_file(prediction, tmp_path):
    types = {"blk.0.attn_q.weight": "q4_0", "token_embd.weight": "q5_1"}
    recipe = Recipe("80mb", types, prediction)
    (tmp_path / "r.toml").write_text(recipe.to_toml())
    assert read_recipe(tmp_path / "r.toml") == recipe


@pytest.mark.parametrize("prediction", ['"much"', "nan", "true", "[1]"])
def test_a_prediction_that_is_none_is_no_error(prediction, tmp_path):
    text = f'predicted_kl_millinats = {prediction}\n[types]\na = "q4_0"\n'
    (tmp_path / "r.toml").write_text(text)
    assert read_recipe(tmp_path / "r.toml") == Recipe("r", {"a": "q4_0"})


@pytest.mark.parametrize(
    ("text", "size"), [("80MB", 80_000_000), ("1.5 gb", 1_500_000_000), ("7", 7), ("2k", 2000)]
)
def test_sizes(text, size):
    assert parse_size(text) == size


choices = st.builds(
    Choice, st.just("q"), st.integers(1, 50), st.floats(0, 10).map(lambda x: round(x, 3))
)
tables = st.lists(st.lists(choices, min_size=1, max_size=4), min_size=1, max_size=5).map(
    lambda options: {str(number): few for number, few in enumerate(options)}
)


def sums(few):
    """The bytes and KL divergence of some choices together."""
    return sum(c.nbytes for c in few), sum(c.kl for c in few)


def most(table, key):
    """The largest difference between the choices for one tensor."""
    values = [[getattr(c, key) for c in few] for few in table.values()]
    return max(max(few) - min(few) for few in values)


def single_changes(table, chosen):
    """All variants of `chosen` with another choice for one tensor."""
    return [(chosen | {name: choice}).values() for name, few in table.items() for choice in few]


@given(tables, st.data())
def test_types_for_a_size_lose_about_the_least(table, data):
    smallest = sum(min(c.nbytes for c in few) for few in table.values())
    size = data.draw(st.integers(smallest, smallest + 100))
    chosen = choose_for_size(table, size)
    taken, loss = sums(chosen.values())
    assert taken <= size
    for changed in single_changes(table, chosen):
        assert sums(changed)[0] > size or sums(changed)[1] >= loss - 1e-9
    every = [sums(few) for few in product(*table.values())]
    assert loss <= min(d for n, d in every if n <= size) + most(table, "kl") + 1e-6
    with pytest.raises(UsageError, match="no recipe fits"):
        choose_for_size(table, smallest - 1)


@given(tables, st.data())
def test_types_for_a_loss_are_about_the_smallest(table, data):
    least, greatest = (sum(f(c.kl for c in few) for few in table.values()) for f in (min, max))
    allowed = least + data.draw(st.floats(0, 1)) * (greatest - least) + 0.001
    chosen = choose_for_loss(table, allowed)
    taken, loss = sums(chosen.values())
    assert loss <= allowed
    for changed in single_changes(table, chosen):
        assert sums(changed)[1] > allowed - 1e-9 or sums(changed)[0] >= taken
    every = [sums(few) for few in product(*table.values())]
    assert taken <= min(n for n, d in every if d <= allowed) + most(table, "nbytes")
    with pytest.raises(UsageError, match="no recipe stays within"):
        choose_for_loss(table, least - 0.001)


def test_bytes_go_where_they_save_the_most_loss():
    table = {
        name: [Choice("small", 10, loss), Choice("large", 20, 0.0)]
        for name, loss in {"a": 10.0, "b": 5.0, "c": 4.0}.items()
    }
    for size, larger in ((30, ""), (39, ""), (40, "a"), (50, "ab"), (59, "ab"), (60, "abc")):
        chosen = choose_for_size(table, size)
        assert "".join(name for name in table if chosen[name].type == "large") == larger
    for loss, larger in ((0, "abc"), (3.9, "abc"), (4, "ab"), (8.9, "ab"), (9, "a"), (19, "")):
        chosen = choose_for_loss(table, loss)
        assert "".join(name for name in table if chosen[name].type == "large") == larger


def test_what_a_large_tensor_leaves_over_goes_to_others():
    """Its gain per byte would come next, but it does not fit."""
    table = {
        "large": [Choice("q5_0", 100, 100.0), Choice("q8_0", 200, 0.0)],
        "good": [Choice("q5_0", 10, 6.0), Choice("q8_0", 20, 0.0)],
        "better": [Choice("q5_0", 10, 8.0), Choice("q8_0", 20, 0.0)],
    }
    for size, changed in ((129, ""), (130, "better"), (140, "better good"), (220, "large")):
        chosen = choose_for_size(table, size)
        assert changed.split() == sorted(name for name in table if chosen[name].type == "q8_0")


def test_equal_tensors_share_what_is_left():
    """At any one price either all change or none, which would leave bytes unused."""
    table = {name: [Choice("small", 10, 2.0), Choice("large", 20, 0.0)] for name in "abcd"}
    for size in range(40, 81):
        larger = [c for c in choose_for_size(table, size).values() if c.type == "large"]
        assert len(larger) == (size - 40) // 10
    for loss in range(9):
        smaller = [c for c in choose_for_loss(table, loss).values() if c.type == "small"]
        assert len(smaller) == loss // 2
