"""Damage to the meaning of JSON files: adapters, models, tokenizers and manifests."""

from random import Random
from typing import Any

from damage_json import on_object

Settings = tuple[tuple[str, Any], ...]


def _set_one(source: Random, document: Any, settings: Settings) -> str:
    key, value = source.choice(settings)
    document[key] = value
    return f"{key} = {str(value)[:60]}"


def _each(key: str, *values: Any) -> Settings:
    return tuple((key, value) for value in values)


SLOW_PATTERNS = (
    *("(a+)+$", "(x|x)*y", "(.*)*z", "(.+.+)+z", "(" * 5000, "[", "*", "(?P<a>", "a{99999}"),
    *("\\", r"(\w+\.?)+!", r"(?:.*\.)*(?:.*\.)*(?:.*\.)*!", "(?R)", "(?<=a+)b", "\ud800"),
    "x" * 10**5,
)


@on_object
def lora_setting(source: Random, document: Any) -> str:
    """Change a setting of an adapter that peft knows and that changes what its weights mean."""
    patterns = ("alpha_pattern", "rank_pattern", "alpha_pattern")
    slow = tuple((source.choice(patterns), {pattern: 8, "x": 2}) for pattern in SLOW_PATTERNS)
    modules = (
        *_each("target_modules", None, "all-linear", [], "x", *SLOW_PATTERNS[:4], ["x"] * 99),
        *_each("layers_to_transform", [0], [99], -1, "all", [10**9]),
        *_each("exclude_modules", ["q_proj"], "(a+)+$", 3),
    )
    values = (
        *_each("r", 0, -1, 1, 8, 10**9, "4", 4.0, True, None, [4]),
        *_each("lora_alpha", 0, -1, 1e308, "8", None, True, 10**400, [8]),
        *_each("peft_type", "lora", "IA3", None, 3, ["LORA"], "XLORA", "VERA"),
        *_each("bias", "all", "lora_only", None, 0, []),
        *_each("init_lora_weights", "pissa", "loftq", [], {}, 1, 0, "olora"),
        *((name, True) for name in ("use_dora", "use_rslora", "fan_in_fan_out", "lora_bias")),
        *((name, "no") for name in ("use_dora", "use_rslora", "fan_in_fan_out", "lora_bias")),
        *_each("base_model_name_or_path", "", None, 3, "\x1b[2J", "/dev/zero", "a/b"),
        *_each("modules_to_save", ["lm_head"], "lm_head", 3),
        *_each("task_type", "SEQ_CLS", "x", 3),
        *_each("alpha_pattern", [], "x", {"q_proj": None}, {"q_proj": 0}, {"": 1e999}),
        *_each("rank_pattern", {"q_proj": 2}, {"q_proj": "x"}, {".*": 10**9}),
        *_each("lora_dropout", 1.0, 2, -1, "x", None),
        *(("eva_config", {"rho": 2}), ("loftq_config", 3), ("megatron_config", {})),
        ("auto_mapping", {}),
    )
    return _set_one(source, document, source.choice((slow, modules, values)))


@on_object
def config_setting(source: Random, document: Any) -> str:
    """Give a base a setting that is impossible or belongs to another model."""
    choices = (
        *_each("num_hidden_layers", 0, -1, 10**9, "2", 2.0, None, True, 10**400),
        *_each("hidden_size", 0, -32, "32", 10**9, 31),
        *_each("num_attention_heads", 0, -4, 3, "4", 10**9, None),
        *_each("num_key_value_heads", 0, -2, 3, 8, "2", None),
        *_each("head_dim", 0, -1, 7, 10**9, "8", None),
        *_each("vocab_size", 0, -1, 10**9, "x"),
        *_each("max_position_embeddings", 0, -1, 10**12, "2048", 1, 16),
        *_each("rms_norm_eps", 0, -1, 1e400, "x", None, 1e-320),
        *_each("tie_word_embeddings", False, "no", None, 1),
        *_each("rope_scaling", 3, [], "x", {"type": 3}, {"rope_type": "yarn"}),
        *_each("rope_parameters", 3, [], {"rope_type": "linear"}),
        ("rope_parameters", {"rope_theta": 0}),
        ("rope_parameters", {"rope_type": "linear", "factor": 0, "rope_theta": "x"}),
        ("rope_parameters", {"rope_type": "llama3", "factor": 0, "rope_theta": 1e4}),
        ("rope_scaling", {"rope_type": "llama3", "factor": 8, "low_freq_factor": 1,
                          "high_freq_factor": 1, "original_max_position_embeddings": 0}),
        *_each("rope_theta", 0, -1, 1e400, "x"),
        *_each("layer_types", 3, "x", ["sliding_attention"], [3]),
        *_each("hidden_act", "gelu", 3, None, []),
        *_each("model_type", "qwen2", "mistral", "gemma3_text", "bert", 3),
        *_each("model_type", None, [], "", "\x1b[2J"),
        *_each("architectures", [], None, ["BertModel"], 3, ["\x1b[2J"]),
        *_each("torch_dtype", "float8", 3, None),
        *_each("dtype", "float8", 3, None, "int8"),
        *_each("quantization_config", {"quant_method": "awq"}, 3, {"bits": 4}),
        *_each("auto_map", {"AutoModelForCausalLM": "x.Y"}, 3),
        *_each("eos_token_id", -1, 10**9, "x", [1, 2], None),
        *_each("bos_token_id", -1, 10**9, "x", [1, 2]),
    )  # fmt: skip
    return _set_one(source, document, choices)


@on_object
def contradict_weights(source: Random, document: Any) -> str:
    choices = (
        *(("num_hidden_layers", 1), ("num_hidden_layers", 3), ("hidden_size", 64)),
        *(("intermediate_size", 48), ("intermediate_size", 128), ("vocab_size", 400)),
        *(("num_key_value_heads", 1), ("head_dim", 16)),
    )
    return _set_one(source, document, choices)


@on_object
def tokenizer_part(source: Random, document: Any) -> str:
    """Change a part of tokenizer.json to another kind, or so that it contradicts the others."""
    model = document["model"]
    kinds = "merges shuffle ids holes negative type added pre normalizer pair"
    change = source.choice(kinds.split())
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
        token = source.choice((*model["vocab"],))
        model["vocab"][token] = source.choice((-1, 2**32, 1.5, "x", None))
    elif change == "type":
        model["type"] = source.choice(("WordPiece", "Unigram", "WordLevel", "x", None, 3))
    elif change == "added":
        token = source.choice(document["added_tokens"])
        key = source.choice(list(token))
        token[key] = source.choice((None, -1, 10**9, "", "x", True, "\ud800", "\x1b[2J", 0))
    elif change == "pre":
        pattern = {"Regex": source.choice(SLOW_PATTERNS)}
        split = {"type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": False}
        document["pre_tokenizer"] = source.choice((None, {"type": "x"}, split))
    elif change == "normalizer":
        kind = source.choice(("NFKC", "Lowercase", "x", "Precompiled"))
        document["normalizer"] = {"type": kind}
    else:
        index = source.randrange(len(model["merges"]))
        model["merges"][index] = source.choice(("a", "a b c", ["a"], ["zz", "qq"], 3, "", ["a", 3]))
    return change


@on_object
def manifest_lie(source: Random, document: Any) -> str:
    """Make the manifest one of another file, or of a file that failed a check."""
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
    return f"{key} = {value}"


@on_object
def manifest_check(source: Random, document: Any) -> str:
    """Change the form of a check in a manifest."""
    name = source.choice(list(document["checks"]))
    check = document["checks"][name]
    values: tuple[Any, ...] = (0, 1, 2, "yes", "", [], {}, 0.0, "\x1b[2J", "a\nb", None)
    change = source.choice(("passed", "detail", "check", "checks", "name"))
    if change in check:
        check[change] = source.choice(values)
    elif change == "check":
        document["checks"][name] = source.choice(values)
    elif change == "checks":
        document["checks"] = source.choice((*values, [check], {"\x1b[2J": check}))
    else:
        document["checks"][source.choice(("\x1b]0;x\x07", "", "\ud800", "sha256"))] = check
    return f"{name}: {change}"
