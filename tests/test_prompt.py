"""The prompt is the template's text around the sentence, tokenized part by part."""

import pytest

from ner_edge.prompt import TEMPLATES, PromptTokenizer, prompt_prefix, prompt_suffix


def spell(text: str, *, special: bool = False, start: bool = False) -> list[int]:
    """A code point is a token, `<s>` is token 0 where special tokens are parsed, 1 begins."""
    text = text.replace("<s>", "\0") if special else text
    return [1] * start + [ord(character) for character in text]


@pytest.mark.parametrize("template", TEMPLATES)
def test_the_parts_make_up_the_template(template: str) -> None:
    whole = TEMPLATES[template].format(instruction="Mark each ship.", input="The Ada sailed")
    prefix, suffix = prompt_prefix(template, "Mark each ship."), prompt_suffix(template)
    assert prefix + "The Ada sailed" + suffix == whole
    prompts = PromptTokenizer(prefix, suffix, spell)
    tokens = prompts.prefix + prompts.prompt(["The", "Ada", "sailed"])
    assert tokens == spell(whole, special=True, start=True)


def test_only_the_template_may_hold_special_tokens() -> None:
    prompts = PromptTokenizer("<s>", "<s>\n", spell)
    assert prompts.prefix == [1, 0]
    assert prompts.prompt(["a", "<s>"]) == [*spell("a <s>"), 0, ord("\n")]
    assert prompts.with_suffix([7]) == [7, 0, ord("\n")]
