"""An adapter's settings: typed, bounded, and without patterns that never end."""

import json

import pytest
from exporting import export_model
from tiny_models import save_adapter

from ner_edge.errors import ModelError
from ner_edge.hf.adapter_config import check_adapter, read_adapter_config


@pytest.fixture
def write(tmp_path):
    def write(**settings):
        values = {"peft_type": "LORA", "r": 4, "lora_alpha": 8} | settings
        (tmp_path / "adapter_config.json").write_text(json.dumps(values))
        return tmp_path

    return write


@pytest.mark.parametrize(
    "pattern", ["q_proj", "mlp.up_proj", r"layers\.\d+\.mlp\.up_proj", "(q|k)_proj", ".*up_proj$"]
)
def test_names_and_simple_patterns_decide(pattern, write):
    config = read_adapter_config(write(alpha_pattern={pattern: 2.5}, rank_pattern={pattern: 16}))
    assert config.alpha("lm_head") == 8.0
    assert config.rank("lm_head") == 4
    modules = ("model.layers.3.mlp.up_proj", "model.layers.3.self_attn.q_proj")
    assert sorted(config.rank(module) for module in modules) == [4, 16]
    assert sorted(config.alpha(module) for module in modules) == [2.5, 8.0]


@pytest.mark.parametrize(
    "pattern",
    [
        "(a+)+$",
        "(a*)*",
        "(.*)*",
        "(x|x)*y",
        "(a|a)+",
        ".*.*.*x",
        "a{1000}{1000}",
        "(?=a)",
        "(",
        "[a",
    ],
)
@pytest.mark.parametrize("key", ["alpha_pattern", "rank_pattern", "target_modules"])
def test_a_pattern_that_may_not_end_is_refused(pattern, key, write):
    value = pattern if key == "target_modules" else {pattern: 4}
    with pytest.raises(ModelError, match=r"is too complex to be evaluated safely|is not a valid"):
        read_adapter_config(write(**{key: value}))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"r": 0}, "Expected `int` >= 1 at `r`"),
        ({"r": 10**9}, "Expected `int` <= 8192 at `r`"),
        ({"lora_alpha": "8"}, "Expected `float`, got `str` at `lora_alpha`"),
        ({"lora_alpha": -1}, "at `lora_alpha`"),
        ({"lora_alpha": 10**400}, "at `lora_alpha`"),
        ({"alpha_pattern": {"q": 0}}, r"at `alpha_pattern\[...\]`"),
        ({"alpha_pattern": {f"q{i}": 1 for i in range(600)}}, "length <= 512"),
        ({"base_model_name_or_path": 3}, "at `base_model_name_or_path`"),
        ({"peft_type": "IA3"}, "peft type 'IA3' cannot be used"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message, write):
    with pytest.raises(ModelError, match=message):
        read_adapter_config(write(**settings))


def test_weights_of_another_rank_are_refused(tiny, tmp_path):
    folder = save_adapter(tmp_path / "ner", tiny.folder)
    check_adapter(folder)
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"r": 8}))
    with pytest.raises(ModelError, match="has rank 4, the configuration says 8"):
        check_adapter(folder)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"target_modules": ["q_proj"]}, "down_proj is none of the configuration's target_modules"),
        ({"target_modules": ".*q_proj"}, "is none of the configuration's target_modules"),
        ({"target_modules": "all-linear", "exclude_modules": ["up_proj"]}, "exclude_modules"),
        ({"layers_to_transform": 0}, r"layers\.1\.\S+ is in none of .* layers_to_transform"),
        ({"layers_to_transform": [1]}, r"layers\.0\.\S+ is in none of .* layers_to_transform"),
    ],
)
def test_weights_that_the_settings_leave_out_are_refused(settings, message, tiny, tmp_path):
    """peft would pass over them, and the merged file would answer otherwise."""
    folder = save_adapter(tmp_path / "ner", tiny.folder)
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))
    with pytest.raises(ModelError, match=message):
        check_adapter(folder)
    with pytest.raises(ModelError, match=r"does not fit the base .* of the configuration's"):
        export_model(tiny.folder, folder, tmp_path / "out", ["f16"])


@pytest.mark.parametrize(
    "settings",
    [
        {"target_modules": "all-linear"},
        {"target_modules": r".*(q|k|v|o|gate|up|down)_proj"},
        {"exclude_modules": ["lm_head"], "layers_to_transform": [0, 1]},
        {"target_modules": None},
    ],
)
def test_weights_that_the_settings_name_are_taken(settings, tiny, tmp_path):
    folder = save_adapter(tmp_path / "ner", tiny.folder)
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))
    check_adapter(folder)
