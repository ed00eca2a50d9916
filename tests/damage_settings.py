"""Damage to JSON whose meaning is known: adapters, models, tokenizers and manifests."""

from random import Random
from typing import Any

from damage_json import dump_object, load_object


def _setting(
    source: Random, data: bytes, choices: tuple[tuple[str, Any], ...]
) -> tuple[bytes, str]:
    document = load_object(data)
    key, value = source.choice(choices)
    document[key] = value
    return dump_object(document), f"{key} = {str(value)[:60]}"


SLOW_PATTERNS = (
    *("(a+)+$", "(x|x)*y", "(.*)*z", "(.+.+)+z", "(" * 5000, "[", "*", "(?P<a>", "a{99999}"),
    "\\",
)
SLOW_PATTERNS += (
    r"(\w+\.?)+!",
    r"(?:.*\.)*(?:.*\.)*(?:.*\.)*!",
    "(?R)",
    "(?<=a+)b",
    "\ud800",
    "x" * 10**5,
)


def lora_setting(source: Random, data: bytes) -> tuple[bytes, str]:
    """An adapter's setting that peft knows, and that changes what the weights mean."""
    patterns = ("alpha_pattern", "rank_pattern", "alpha_pattern")
    slow = tuple((source.choice(patterns), {pattern: 8, "x": 2}) for pattern in SLOW_PATTERNS)
    modules = (
        *(
            ("target_modules", value)
            for value in (None, "all-linear", [], "x", *SLOW_PATTERNS[:4], ["x"] * 99)
        ),
        *(("layers_to_transform", value) for value in ([0], [99], -1, "all", [10**9])),
        *(("exclude_modules", value) for value in (["q_proj"], "(a+)+$", 3)),
    )
    values = (
        *(("r", value) for value in (0, -1, 1, 8, 10**9, "4", 4.0, True, None, [4])),
        *(("lora_alpha", value) for value in (0, -1, 1e308, "8", None, True, 10**400, [8])),
        *(("peft_type", value) for value in ("lora", "IA3", None, 3, ["LORA"], "XLORA", "VERA")),
        *(("bias", value) for value in ("all", "lora_only", None, 0, [])),
        *(("init_lora_weights", value) for value in ("pissa", "loftq", [], {}, 1, 0, "olora")),
        *((name, True) for name in ("use_dora", "use_rslora", "fan_in_fan_out", "lora_bias")),
        *((name, "no") for name in ("use_dora", "use_rslora", "fan_in_fan_out", "lora_bias")),
        *(
            ("base_model_name_or_path", value)
            for value in ("", None, 3, "\x1b[2J", "/dev/zero", "a/b")
        ),
        *(("modules_to_save", value) for value in (["lm_head"], "lm_head", 3)),
        *(("task_type", value) for value in ("SEQ_CLS", "x", 3)),
        *(
            ("alpha_pattern", value)
            for value in ([], "x", {"q_proj": None}, {"q_proj": 0}, {"": 1e999})
        ),
        *(("rank_pattern", value) for value in ({"q_proj": 2}, {"q_proj": "x"}, {".*": 10**9})),
        *(("lora_dropout", value) for value in (1.0, 2, -1, "x", None)),
        *(
            ("eva_config", {"rho": 2}),
            ("loftq_config", 3),
            ("megatron_config", {}),
            ("auto_mapping", {}),
        ),
    )
    return _setting(source, data, source.choice((slow, modules, values)))


def config_setting(source: Random, data: bytes) -> tuple[bytes, str]:
    """A base's setting that is impossible, or of another model."""
    choices = (
        *(("num_hidden_layers", value) for value in (0, -1, 10**9, "2", 2.0, None, True, 10**400)),
        *(("hidden_size", value) for value in (0, -32, "32", 10**9, 31)),
        *(("num_attention_heads", value) for value in (0, -4, 3, "4", 10**9, None)),
        *(("num_key_value_heads", value) for value in (0, -2, 3, 8, "2", None)),
        *(("head_dim", value) for value in (0, -1, 7, 10**9, "8", None)),
        *(("vocab_size", value) for value in (0, -1, 10**9, "x")),
        *(("max_position_embeddings", value) for value in (0, -1, 10**12, "2048", 1, 16)),
        *(("rms_norm_eps", value) for value in (0, -1, 1e400, "x", None, 1e-320)),
        *(("tie_word_embeddings", value) for value in (False, "no", None, 1)),
        *(("rope_scaling", value) for value in (3, [], "x", {"type": 3}, {"rope_type": "yarn"})),
        *(("rope_parameters", value) for value in (3, [], {"rope_type": "linear"})),
        ("rope_parameters", {"rope_theta": 0}),
        ("rope_parameters", {"rope_type": "linear", "factor": 0, "rope_theta": "x"}),
        ("rope_parameters", {"rope_type": "llama3", "factor": 0, "rope_theta": 1e4}),
        ("rope_scaling", {"rope_type": "llama3", "factor": 8, "low_freq_factor": 1,
                          "high_freq_factor": 1, "original_max_position_embeddings": 0}),
        *(("rope_theta", value) for value in (0, -1, 1e400, "x")),
        *(("layer_types", value) for value in (3, "x", ["sliding_attention"], [3])),
        *(("hidden_act", value) for value in ("gelu", 3, None, [])),
        *(("model_type", value) for value in ("qwen2", "mistral", "gemma3_text", "bert", 3)),
        *(("model_type", value) for value in (None, [], "", "\x1b[2J")),
        *(("architectures", value) for value in ([], None, ["BertModel"], 3, ["\x1b[2J"])),
        *(("torch_dtype", value) for value in ("float8", 3, None)),
        *(("dtype", value) for value in ("float8", 3, None, "int8")),
        *(("quantization_config", value) for value in ({"quant_method": "awq"}, 3, {"bits": 4})),
        *(("auto_map", value) for value in ({"AutoModelForCausalLM": "x.Y"}, 3)),
        *(("eos_token_id", value) for value in (-1, 10**9, "x", [1, 2], None)),
        *(("bos_token_id", value) for value in (-1, 10**9, "x", [1, 2])),
    )  # fmt: skip
    return _setting(source, data, choices)


def contradict_weights(source: Random, data: bytes) -> tuple[bytes, str]:
    """The configuration contradicts the shapes of the weights."""
    choices = (
        *(("num_hidden_layers", 1), ("num_hidden_layers", 3), ("hidden_size", 64)),
        *(("intermediate_size", 48), ("intermediate_size", 128), ("vocab_size", 400)),
        *(("num_key_value_heads", 1), ("head_dim", 16)),
    )
    return _setting(source, data, choices)


def tokenizer_part(source: Random, data: bytes) -> tuple[bytes, str]:
    """A part of tokenizer.json is of another kind, or contradicts the others."""
    document = load_object(data)
    model = document["model"]
    change = source.choice(
        (
            *("merges", "shuffle", "ids", "holes", "negative", "type", "added", "pre"),
            *("normalizer", "pair"),
        )
    )
    if change == "merges":
        model["merges"] = model["merges"][: source.randrange(len(model["merges"]))]
    elif change == "shuffle":
        source.shuffle(model["merges"])
    elif change == "ids":
        model["vocab"] = dict.fromkeys(model["vocab"], source.choice((0, 5)))
    elif change == "holes":
        step = source.choice((2, 10**6))
        model["vocab"] = {token: number * step for token, number in model["vocab"].items()}
    elif change == "negative":
        model["vocab"][source.choice(list(model["vocab"]))] = source.choice(
            (-1, 2**32, 1.5, "x", None)
        )
    elif change == "type":
        model["type"] = source.choice(("WordPiece", "Unigram", "WordLevel", "x", None, 3))
    elif change == "added":
        token = source.choice(document["added_tokens"])
        key = source.choice(list(token))
        token[key] = source.choice((None, -1, 10**9, "", "x", True, "\ud800", "\x1b[2J", 0))
    elif change == "pre":
        split = {
            "type": "Split",
            "pattern": {"Regex": source.choice(SLOW_PATTERNS)},
            "behavior": "Isolated",
        }
        document["pre_tokenizer"] = source.choice((None, {"type": "x"}, split | {"invert": False}))
    elif change == "normalizer":
        kinds = ("NFKC", "Lowercase", "x", "Precompiled")
        document["normalizer"] = {"type": source.choice(kinds)}
    else:
        index = source.randrange(len(model["merges"]))
        model["merges"][index] = source.choice(("a", "a b c", ["a"], ["zz", "qq"], 3, "", ["a", 3]))
    return dump_object(document), change


def manifest_lie(source: Random, data: bytes) -> tuple[bytes, str]:
    """A manifest of another file, or of one that failed a check."""
    document = load_object(data)
    key, value = source.choice(
        (
            *(("sha256", "0" * 64), ("sha256", None), ("bytes", 1), ("bytes", -1)),
            *(("file", "b.gguf"), ("task", "other"), ("quantization", "q4_0"), ("parameters", 1)),
            *(("architecture", "x"), ("passed", source.choice((False, 0)))),
        )
    )
    if key == "passed":
        source.choice(list(document["checks"].values()))["passed"] = value
    else:
        document[key] = value
    return dump_object(document), f"{key} = {value}"


def manifest_check(source: Random, data: bytes) -> tuple[bytes, str]:
    """A check in a manifest is of another form."""
    document = load_object(data)
    name = source.choice(list(document["checks"]))
    check = document["checks"][name]
    values = (0, 1, 2, "yes", "", [], {}, 0.0, "\x1b[2J", "a\nb", None)
    change = source.choice(("passed", "detail", "check", "checks", "name"))
    if change in check:
        check[change] = source.choice(values)
    elif change == "check":
        document["checks"][name] = source.choice(values)
    elif change == "checks":
        document["checks"] = source.choice((*values, [check], {"\x1b[2J": check}))
    else:
        document["checks"][source.choice(("\x1b]0;x\x07", "", "\ud800", "sha256"))] = check
    return dump_object(document), f"{name}: {change}"
