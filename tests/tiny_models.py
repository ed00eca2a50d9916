"""Tiny random models, tokenizers and adapters in the formats of real ones, made on the spot."""

import json
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from tokenizers import (
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
)

from ner_edge.export.verify import parity, tokens

torch.set_num_threads(1)  # tiny matrices gain nothing, and on a busy machine threads wait

ALL_LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
QWEN2_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LLAMA3_PATTERN = QWEN2_PATTERN.replace(r"\p{N}| ?", r"\p{N}{1,3}| ?")
TEKKEN_PATTERN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
PATTERNS = {"qwen2": QWEN2_PATTERN, "llama-bpe": LLAMA3_PATTERN, "tekken": TEKKEN_PATTERN}
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
UNMARKED = ["<tool_call>", "<|fim_pad|>"]
TEXTS = [
    "Hussain , considered surplus to England 's one-day requirements",
    "The European Commission said on Thursday it disagreed with German advice.",
    "BRUSSELS 1996-08-22, 10:45 — 12 345.67 %",
    "[Hussain | PER] lives in [New York | LOC]\n\n\nI'll don't we've   spaces \t tabs",
    "naïve Zürich façade Ωμέγα Привет мир 東京都 مرحبا بالعالم שלום 👩‍👩‍👧 🇩🇪",
    "<|im_start|>user<tool_call><|fim_pad|><|endoftext|>",
    "def f(x):\n    return {'a': x**2}\n\r\n  \n",
]


def save_tokenizer(folder: Path, pre: str = "smollm") -> int:
    """Write tokenizer.json and tokenizer_config.json; returns how many tokens there are."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer(models.BPE(ignore_merges=pre in ("llama-bpe", "tekken")))
    steps: list[Any] = []
    if pre == "smollm":
        steps.append(pre_tokenizers.Digits(individual_digits=True))
    elif pre != "gpt-2":
        steps.append(pre_tokenizers.Split(Regex(PATTERNS[pre]), "isolated"))
    whole_regex = pre in ("smollm", "gpt-2")
    steps.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=whole_regex))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps) if len(steps) > 1 else steps[0]
    if pre == "qwen2":
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS * 3, trainer)
    tokenizer.add_tokens(UNMARKED)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<|im_start|>",
        "eos_token": "<|im_end|>",
        "pad_token": "<|im_end|>",
        "chat_template": "{% for m in messages %}{{ m['content'] }}{% endfor %}",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return tokenizer.get_vocab_size()


def save_sentencepiece(folder: Path) -> int:
    """Write a tokenizer.json like Gemma's; returns how many tokens there are."""
    folder.mkdir(parents=True, exist_ok=True)
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    trainer = trainers.BpeTrainer(vocab_size=300, show_progress=False)
    trained.train_from_iterator(TEXTS * 3, trainer)
    found = trained.get_vocab()
    learned = sorted(found.keys() - {"\n\n"}, key=lambda piece: found[piece])
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>"]
    pieces = [*special, "\n\n", *(f"<0x{byte:02X}>" for byte in range(256)), *learned]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    splits = [(piece[:i], piece[i:]) for piece in learned for i in range(1, len(piece))]
    merges = [pair for pair in splits if pair[0] in vocabulary and pair[1] in vocabulary]
    tokenizer = Tokenizer(
        models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    )
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", 2)]
    )
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    tokenizer.add_special_tokens(special)
    tokenizer.add_tokens(["\n\n"])
    tokenizer.save(str(folder / "tokenizer.json"))
    names = {"bos": "<bos>", "eos": "<eos>", "pad": "<pad>", "unk": "<unk>"}
    config = {"tokenizer_class": "PreTrainedTokenizerFast"}
    config |= {f"{name}_token": token for name, token in names.items()}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return len(vocabulary)


# Six sliding layers and a global one; the window is shorter than some tests' texts.
GEMMA3 = {
    "num_hidden_layers": 7,
    "head_dim": 16,
    "query_pre_attn_scalar": 16,
    "sliding_window": 40,
    "bos_token_id": 2,
    "eos_token_id": 1,
}


def save_model(
    folder: Path,
    architecture: str = "llama",
    *,
    tied: bool = True,
    padding: int = 5,
    dtype: torch.dtype = torch.float32,
    max_shard_size: str = "1GB",
    **settings: Any,
) -> Path:
    """Write a random model with grouped-query attention, its vocabulary padded by `padding`."""
    if architecture == "gemma3_text":
        tokens, settings = save_sentencepiece(folder), GEMMA3 | settings
    else:
        pre = {"llama": "smollm", "mistral": "tekken"}.get(architecture, "qwen2")
        tokens = save_tokenizer(folder, pre)
    torch.manual_seed(0)
    values = {
        "vocab_size": tokens + padding,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
        "tie_word_embeddings": tied,
        "initializer_range": 0.2,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": None,
        **settings,
    }
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(architecture, **values))
    with torch.no_grad():  # biases and norms start at 0 and 1, which would hide their loss
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    model.to(dtype).save_pretrained(folder, max_shard_size=max_shard_size)
    return folder


def save_adapter(folder: Path, base: Path, **settings: Any) -> Path:
    """Write a random LoRA (both halves nonzero) for the model in `base`."""
    add_adapter(load_model(base), folder, **settings)
    return folder


def add_adapter(model: Any, folder: Path, **settings: Any) -> Any:
    """Give a torch model a random LoRA, write that to `folder`, and return both together."""
    torch.manual_seed(1)
    values = {"r": 4, "lora_alpha": 12, "target_modules": ALL_LINEAR, **settings}
    model = get_peft_model(model, LoraConfig(**values))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.copy_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(str(folder))
    return model.eval()


def load_model(base: Path, adapter: Path | None = None) -> Any:
    """The torch model of a folder or GGUF in float32, its adapter beside it (not merged)."""
    if base.is_file():
        source, gguf = base.parent, base.name
    else:
        source, gguf = base, None
    model: Any = AutoModelForCausalLM.from_pretrained(source, gguf_file=gguf, dtype=torch.float32)
    if adapter is not None:
        model = PeftModel.from_pretrained(model, str(adapter))
    return model.eval()


def logits(model: Any, ids: list[int]) -> Any:
    """Logits of a torch model for every position, `(tokens, vocabulary)`."""
    return parity.torch_logits(model, ids)


def gguf_logits(path: Path, ids: list[int], lora: Path | None = None) -> Any:
    """Logits of llama.cpp for every position, `(tokens, vocabulary)`, with a float32 KV cache."""
    if lora is None:
        return next(parity.gguf_logits(path, [ids], threads=1))
    model = llama_cpp.Llama(
        str(path),
        lora_path=str(lora),
        n_ctx=len(ids),
        n_threads=1,
        n_threads_batch=1,
        logits_all=True,
        verbose=False,
        type_k=llama_cpp.GGML_TYPE_F32,
        type_v=llama_cpp.GGML_TYPE_F32,
    )
    model.eval(ids)
    logits = np.array(model.scores[: len(ids)])
    model.close()
    return logits


def gguf_tokens(path: Path, text: str) -> list[int]:
    """Token ids by llama.cpp, special tokens in the text recognised."""
    return tokens.gguf_tokens(path, [text])[0]
