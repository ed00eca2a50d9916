"""A `tokenizer.json` as GGUF metadata, after llama.cpp's `convert_hf_to_gguf.py`."""

from gguf import GGUFWriter, SpecialVocab

from ner_edge.architectures import BYTE_LEVEL, SENTENCEPIECE
from ner_edge.errors import ModelError
from ner_edge.export.read.byte_level import add_byte_level
from ner_edge.export.read.sentencepiece import add_sentencepiece
from ner_edge.export.read.tokenizer_json import read_tokenizer
from ner_edge.hf.folder import HFFolder

_KINDS = {BYTE_LEVEL: add_byte_level, SENTENCEPIECE: add_sentencepiece}


def add_tokenizer(writer: GGUFWriter, model: HFFolder) -> None:
    """Add the tokenizer of `model` to `writer`'s metadata.

    Raises `ModelError` if it is damaged, or llama.cpp would split text differently.
    """
    folder, size = model.path, model.hyperparameters.vocabulary
    kind = model.config.architecture.tokenizer
    path = folder / "tokenizer.json"
    writer.add_tokenizer_model(kind)
    _KINDS[kind](writer, path, read_tokenizer(path), size)
    has_merges = kind == BYTE_LEVEL  # SentencePiece has scores
    try:
        special = SpecialVocab(folder, load_merges=has_merges, n_vocab=size)
        special.add_special_token.setdefault("bos", False)
        if "eos" not in special.special_token_ids:
            special.special_token_ids["eos"] = _first_eos(model)
        special.add_to_gguf(writer, quiet=True)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        # gguf does not check the types in those files.
        raise ModelError(f"{folder}: its tokenizer's settings cannot be read ({error})") from error
    is_text = all(isinstance(merge, str) for merge in special.merges)
    if has_merges and not (special.merges and is_text):
        raise ModelError(f"{path}: has no merges, or some that are no pairs of tokens")


def _first_eos(model: HFFolder) -> int:
    """Return the end token where `config.json` lists several or the tokenizer names none."""
    eos = model.config.eos_token_id
    first = next(iter(eos), None) if isinstance(eos, list) else eos
    if first is None or not 0 <= first < model.hyperparameters.vocabulary:
        raise ModelError(f"{model.path}: names no end-of-sequence token (eos_token)")
    return first
