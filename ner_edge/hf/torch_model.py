"""Models in torch: loading them, and greedy answers to prompts.

torch and transformers are imported only when they are used, because most commands need neither.
"""

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ner_edge.errors import ModelError, first_line, missing_extra
from ner_edge.gguf.check import check_model
from ner_edge.gguf.file import GGUFFile
from ner_edge.hf.adapter_config import check_adapter
from ner_edge.hf.both_ways import pad_prompts, read_into_cache
from ner_edge.hf.folder import open_hf_folder
from ner_edge.hf.prompts import PromptEncoder
from ner_edge.shapes import Hyperparameters, listed

if TYPE_CHECKING:
    import torch

BATCH = 32  # sentences decoded together


def load_base(
    path: Path, dtype: "torch.dtype", device: "torch.device", attention: str = "sdpa"
) -> tuple[Any, Any]:
    """Load a causal language model and its tokenizer from a folder or a GGUF file (dequantized).

    Raises `ModelError` if it cannot be loaded.
    """
    file = None if path.is_dir() else GGUFFile(path)
    sizes = check_model(file) if file else open_hf_folder(path).hyperparameters
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging as transformers_logging

    where: Path = path
    gguf: dict[str, Any] = {}
    settings: dict[str, Any] = {}
    if file:
        _check_rotation(file, sizes.architecture.name)
        where, gguf = path.parent, {"gguf_file": path.name}
        if sizes.architecture.query_pre_attn_scalar:  # not in GGUF
            settings = {"query_pre_attn_scalar": sizes.head_width}
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        with open(os.devnull, "w") as sink, contextlib.redirect_stderr(sink):
            tokenizer = AutoTokenizer.from_pretrained(where, **gguf)
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                where,
                dtype=dtype,
                attn_implementation=attention,
                use_safetensors=True,
                output_loading_info=True,
                **gguf,
                **settings,
            )
    except Exception as error:  # each format's reader has errors of its own
        raise ModelError(
            f"{path}: cannot be loaded as a base model ({first_line(error)})"
        ) from error
    model, info = loaded
    if missing := sorted(info["missing_keys"]):  # they would be random
        raise ModelError(f"{path}: its weights lack {listed(missing)}")
    return model.to(device), tokenizer


def _check_rotation(file: GGUFFile, architecture: str) -> None:
    """Raise `ModelError` if rotary embeddings have settings that transformers does not read."""
    scaling, local = (f"{architecture}.rope.{key}" for key in ("scaling.factor", "freq_base_swa"))
    problems = [f"{scaling} {file.get(scaling)}"] * (file.get(scaling) not in (None, 1.0))
    problems += [f"{local} {file.get(local)}"] * (file.get(local) not in (None, 10000.0))
    problems += ["rope_freqs.weight"] * ("rope_freqs.weight" in file.tensors)
    if problems:
        raise ModelError(
            f"{file.path}: transformers ignores its {', '.join(problems)}; give the Hugging Face "
            "folder that it was made from"
        )


def check_base(path: Path) -> Hyperparameters:
    """Return the sizes of the model in a folder or a GGUF file; no weight is read.

    Raises `ModelError` if it contradicts itself: transformers would allocate the model that its
    settings describe, however large.
    """
    return open_hf_folder(path).hyperparameters if path.is_dir() else check_model(GGUFFile(path))


def load_adapted(
    base: Path, adapter: Path | None, dtype: "torch.dtype", device: "torch.device"
) -> tuple[Any, Any]:
    """Load a base and, unmerged, its LoRA for inference, with the tokenizer.

    Raises `ModelError` if either cannot be loaded, `UsageError` without peft.
    """
    try:
        from peft import PeftModel
    except ImportError as error:
        raise missing_extra("train", error) from None
    model, tokenizer = load_base(base, dtype, device)
    if adapter is not None:
        check_adapter(adapter)
        try:
            model = PeftModel.from_pretrained(model, str(adapter))
        except Exception as error:  # peft and safetensors raise many kinds
            raise ModelError(f"{adapter}: cannot be loaded ({first_line(error)})") from error
    return model.eval(), tokenizer


def answer_sentences(
    model: Any,
    tokenizer: Any,
    encoder: PromptEncoder,
    sentences: Sequence[Sequence[str]],
    *,
    both_ways: bool = False,
) -> Iterator[list[tuple[int, str]]]:
    """Decode unconstrained greedy answers, each cut before its first newline.

    The sentences are read causally, or `both_ways`. Yields batches of (index into `sentences`,
    answer). Sentences of similar length are decoded together, padded on the left.
    """
    around = {"around": (len(encoder.prefix), len(encoder.suffix))} if both_ways else {}
    order = sorted(range(len(sentences)), key=lambda i: len(sentences[i]))
    for start in range(0, len(order), BATCH):
        chosen = order[start : start + BATCH]
        prompts = [encoder.prompt(sentences[i]) for i in chosen]
        longest = max(map(len, prompts))
        prompts = [encoder.prefix + prompt for prompt in prompts]
        answers = generate(model, tokenizer, prompts, 2 * longest + 32, **around)
        # A few answers run on, mostly in circles, and would delay the whole batch. They are decoded
        # again with room for one entity per token: `[`, the token, ` |`, its label and `]`.
        if unfinished := [i for i, answer in enumerate(answers) if not answer.finished]:
            again = [prompts[i] for i in unfinished]
            longer = generate(model, tokenizer, again, 6 * longest + 32, **around)
            for i, answer in zip(unfinished, longer, strict=True):
                answers[i] = answer
        yield [(i, answer.text) for i, answer in zip(chosen, answers, strict=True)]


class Answer(NamedTuple):
    """A continuation up to its first newline; `finished` if it ended within the limit."""

    text: str
    finished: bool


def generate(
    model: Any,
    tokenizer: Any,
    prompts: list[list[int]],
    limit: int,
    around: tuple[int, int] | None = None,
) -> list[Answer]:
    """Decode greedy continuations of `prompts`, of at most `limit` tokens.

    With `around`, the numbers of tokens before and after the sentence in each prompt, the sentence
    is read both ways.
    """
    import torch

    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    batch = pad_prompts(prompts, pad)
    if around:
        inputs = read_into_cache(model, batch, *around)
    else:
        ids, mask = batch.ids.to(model.device), batch.mask.to(model.device)
        inputs = {"input_ids": ids, "attention_mask": mask}
    with torch.inference_mode():
        output = model.generate(
            **inputs,
            max_new_tokens=limit,
            do_sample=False,
            # Some bases penalize repetition, but copying is repetition.
            repetition_penalty=1.0,
            pad_token_id=pad,
            stop_strings=["\n"],
            tokenizer=tokenizer,
        )
    ends = model.generation_config.eos_token_id
    ends = {pad, *(ends if isinstance(ends, list) else [ends])}
    answers = []
    for row in output[:, batch.ids.shape[1] :].tolist():
        text, newline, _ = tokenizer.decode(row, skip_special_tokens=True).partition("\n")
        answers.append(Answer(text, bool(newline) or row[-1] in ends))
    return answers
