"""Reading both ways in torch, padded and cached, equals training's packed reading and a slow loop
that reads everything anew for each token."""

from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tiny_models import save_model

from ner_edge.data.corpus import Sentence
from ner_edge.hf.both_ways import pad_prompts, read_into_cache, word_states
from ner_edge.hf.prompts import PromptEncoder
from ner_edge.hf.torch_model import answer_sentences, generate, load_base
from ner_edge.spans import Span
from ner_edge.task import Task
from ner_edge.train.attention import NAME
from ner_edge.train.loss import read_packed
from ner_edge.train.packing import pack

TASK = Task("tiny", {"PER": "person", "LOC": "location"}, "Find entities.", "plain")
SENTENCES = [
    Sentence(["Ada", "Lovelace", "met", "Kim", "in", "Rome", "and", "Oslo"], [Span(0, 2, "PER")]),
    Sentence(["Rome"], [Span(0, 1, "LOC")]),
    Sentence(["Zoe", "lives", "in", "England"], [Span(0, 1, "PER"), Span(3, 4, "LOC")]),
]
WORDS = [sentence.words for sentence in SENTENCES]
# In a window of 60 each prompt fits, as training requires, but answers go beyond it.
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen2": {},
    "qwen3": {},
    "mistral": {"sliding_window": None},
    "gemma3_text": {"sliding_window": 60, "num_hidden_layers": 7},
}


@pytest.fixture(scope="module", params=FAMILIES)
def loaded(request: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, PromptEncoder]:
    """A random model with an adapter, and its encoder."""
    folder = tmp_path_factory.mktemp("base")
    save_model(folder, request.param, **{"num_hidden_layers": 3, **FAMILIES[request.param]})
    model, tokenizer = load_base(folder, torch.float32, torch.device("cpu"))
    model.generation_config.eos_token_id = None  # so that answers have their full length
    torch.manual_seed(1)
    model = get_peft_model(model, LoraConfig(r=3, lora_alpha=5, target_modules="all-linear"))
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.1)
    return model.eval(), PromptEncoder(tokenizer, TASK)


def test_states_are_those_of_the_packed_reading(loaded: tuple[Any, PromptEncoder]) -> None:
    model, encoder = loaded
    base = model.get_base_model()
    depths = [2, base.config.num_hidden_layers]
    found = word_states(model, encoder, WORDS, depths)
    batch = pack(encoder.prefix, [encoder.tagged_example(sentence) for sentence in SENTENCES])
    base.set_attn_implementation(NAME)
    with torch.inference_mode():
        packed = read_packed(base, batch, all_states=True).hidden_states
    base.set_attn_implementation("sdpa")
    for depth in depths:
        states = torch.cat([of_sentence[depth] for of_sentence in found])
        torch.testing.assert_close(states, packed[depth][0, batch.words], rtol=1e-4, atol=1e-4)
    causal = base(
        torch.tensor([encoder.prefix + encoder.prompt(WORDS[0])]), output_hidden_states=True
    )
    last = causal.hidden_states[-1][0, len(encoder.prefix) + encoder.word_ends(WORDS[0])[0]]
    assert not torch.allclose(last, found[0][depths[-1]][0], atol=1e-2), (
        "not what causal reading sees"
    )


def slow_answer(model: Any, encoder: PromptEncoder, words: list[str], limit: int) -> list[int]:
    """Greedy tokens, each by one pass over everything before it with a full mask."""
    base = model.get_base_model()
    config = base.config
    prompt = encoder.prefix + encoder.prompt(words)
    sentence = slice(len(encoder.prefix), len(prompt) - len(encoder.suffix))
    ids = list(prompt)
    for _ in range(limit):
        place = torch.arange(len(ids))
        allowed = place <= place[:, None]
        allowed[sentence, sentence] = True
        window = getattr(config, "sliding_window", None) or 10**6
        near = allowed & (place[:, None] - place < window)
        masks = {
            name: torch.zeros(len(ids), len(ids)).masked_fill(~seen, -1e30)[None, None]
            for name, seen in (("full_attention", allowed), ("sliding_attention", near))
        }
        mask = masks if config.model_type == "gemma3_text" else masks["full_attention"]
        with torch.inference_mode():
            states = base.model(torch.tensor([ids]), attention_mask=mask, use_cache=False)
            ids.append(int(base.lm_head(states.last_hidden_state[0, -1]).argmax()))
    return ids[len(prompt) :]


def test_answers_are_those_of_a_loop_without_padding_and_cache(
    loaded: tuple[Any, PromptEncoder],
) -> None:
    model, encoder = loaded
    prompts = [encoder.prefix + encoder.prompt(words) for words in WORDS]
    batch = pad_prompts(prompts, 0)
    inputs = read_into_cache(model, batch, len(encoder.prefix), len(encoder.suffix))
    output = model.generate(**inputs, max_new_tokens=30, do_sample=False, pad_token_id=0)
    for row, words in zip(output, WORDS, strict=True):
        assert row[batch.ids.shape[1] :].tolist() == slow_answer(model, encoder, words, 30)


def test_sentences_are_answered_in_either_way(
    loaded: tuple[Any, PromptEncoder], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, encoder = loaded
    short = generate

    def limited(model: Any, tokenizer: Any, prompts: Any, limit: int, *_: Any, **more: Any) -> Any:
        return short(model, tokenizer, prompts, 10, **more)

    monkeypatch.setattr("ner_edge.hf.torch_model.generate", limited)
    prompts = [encoder.prefix + encoder.prompt(words) for words in WORDS]
    around = (len(encoder.prefix), len(encoder.suffix))
    for both_ways in (False, True):
        (batch,) = answer_sentences(model, encoder._tokenizer, encoder, WORDS, both_ways=both_ways)
        expected = short(model, encoder._tokenizer, prompts, 10, around if both_ways else None)
        assert dict(batch) == {i: answer.text for i, answer in enumerate(expected)}
