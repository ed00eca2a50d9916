"""Build the prompt of a sentence, as text and as tokens; no other module does.

A prompt is `prefix`, the words joined by single spaces, and `suffix`; the answer follows. Prefix
and suffix come from the task's template and may contain special tokens. The words are a user's
text, which is never parsed for special tokens.
"""

from collections.abc import Sequence
from typing import Protocol

# {instruction} and {input} are filled in; the model's answer follows the last character.
TEMPLATES = {
    "plain": "{instruction}\n{input}\n",
    "alpaca": "### Instruction:\n{instruction}\n{input}\n\n### Response:\n",
    # As LLaMA-Factory's templates of these names format an instruction and an input.
    "llamafactory-alpaca": (
        "Below is an instruction that describes a task. Write a response that appropriately "
        "completes the request.\n\n### Instruction:\n{instruction}\n{input}\n\n### Response:\n"
    ),
    "llamafactory-qwen": (
        "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant."
        "<|im_end|>\n<|im_start|>user\n{instruction}\n{input}<|im_end|>\n<|im_start|>assistant\n"
    ),
    "chatml-user": "<|im_start|>user\n{instruction}\n{input}<|im_end|>\n<|im_start|>assistant\n",
    "chatml-system": (
        "<|im_start|>system\n{instruction}<|im_end|>\n"
        "<|im_start|>user\n{input}<|im_end|>\n<|im_start|>assistant\n"
    ),
}


def prompt_prefix(template: str, instruction: str) -> str:
    """Return the text before the sentence, the same for all sentences of a task."""
    before = TEMPLATES[template].partition("{input}")[0]
    return before.replace("{instruction}", instruction)


def prompt_suffix(template: str) -> str:
    """Return the text between the sentence and the answer."""
    return TEMPLATES[template].partition("{input}")[2]


class Tokenize(Protocol):
    """Return the token ids of a text, without those that the tokenizer would add.

    Special tokens are parsed only if `special`. `start` prepends the begin-of-sequence token, if
    the tokenizer adds one.
    """

    def __call__(self, text: str, *, special: bool = False, start: bool = False) -> list[int]: ...


class PromptTokenizer:
    """Tokenizes the prompts of one task for one model."""

    def __init__(self, prefix: str, suffix: str, tokenize: Tokenize) -> None:
        self._tokenize = tokenize
        self.prefix = tokenize(prefix, special=True, start=True)
        """Token ids that every prompt begins with."""
        self.suffix = tokenize(suffix, special=True)

    def prompt(self, words: Sequence[str]) -> list[int]:
        """Return the token ids between the prefix and the answer."""
        return self.with_suffix(self._tokenize(" ".join(words)))

    def with_suffix(self, sentence: list[int]) -> list[int]:
        """Return the same for a sentence that has been tokenized already."""
        return sentence + self.suffix
