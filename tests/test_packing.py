"""Packing changes the cost of training, not its result."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM

from ner_edge.hf.prompts import Example
from ner_edge.train.attention import NAME
from ner_edge.train.batches import split_by_tokens
from ner_edge.train.lora import speed_up_lora
from ner_edge.train.loss import packed_loss, packed_losses
from ner_edge.train.model import checkpoint_gradients
from ner_edge.train.packing import pack
from ner_edge.train.word_head import WordHeadModule

PREFIX = [5, 9, 2, 7]
EXAMPLES = [
    Example([11, 12, 13], [21, 22]),
    Example([31], [41, 42, 43, 44, 45]),
    Example([51, 52, 53, 54], [61]),
    Example([71, 72], [81, 82, 83]),
]
SHAPE = {
    "vocab_size": 100,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen2": {},
    "qwen3": {"head_dim": 16},  # its heads need not add up to the hidden size
    "mistral": {"sliding_window": None},
    "gemma3_text": {"head_dim": 16, "query_pre_attn_scalar": 16, "sliding_window": 32},
}
TOLERANCE = {"gemma3_text": 5e-5}  # its norms of heads and blocks enlarge the last digit


def tiny_model(family: str, attention: str, seed: int = 1) -> Any:
    """A random model with an adapter whose B is not zero, so that every gradient flows."""
    torch.manual_seed(seed)
    config = AutoConfig.for_model(family, **SHAPE, **FAMILIES[family])
    model = AutoModelForCausalLM.from_config(config, attn_implementation=attention)
    for weight in model.parameters():  # biases and norms start at 0 and 1, which hides a mistake
        if weight.ndim == 1:
            torch.nn.init.normal_(weight)
    model = get_peft_model(model, LoraConfig(r=3, lora_alpha=5, target_modules="all-linear"))
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight)
    return model


def gradients(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.requires_grad}


def naive_loss(
    model: torch.nn.Module,
    prefix: Sequence[int] = PREFIX,
    examples: Sequence[Example] = EXAMPLES,
) -> torch.Tensor:
    """One forward pass per sentence, each with its whole prompt, peft's LoRA, torch's loss."""
    total = torch.zeros(())
    for example in examples:
        prompt = [*prefix, *example.prompt]
        ids = torch.tensor([prompt + example.response])
        logits = model(input_ids=ids).logits[0, len(prompt) - 1 : -1]
        target = torch.tensor(example.response)
        total = total + torch.nn.functional.cross_entropy(logits, target, reduction="sum")
    return total


# In float64, but for the norms and angles that transformers computes in float32 all the same.
MODELS = tiny_model("llama", "eager").double(), tiny_model("llama", NAME).double()
speed_up_lora(MODELS[1])


@pytest.mark.parametrize("family", FAMILIES)
def test_packed_loss_and_gradients_equal_the_naive_ones(family: str) -> None:
    naive, packed = tiny_model(family, "eager"), tiny_model(family, NAME)
    speed_up_lora(packed)

    expected = naive_loss(naive)
    expected.backward()
    loss = packed_loss(packed.get_base_model(), pack(PREFIX, EXAMPLES))
    loss.backward()

    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    for name, gradient in gradients(naive).items():
        assert gradient.abs().max() > 0
        torch.testing.assert_close(
            gradients(packed)[name], gradient, rtol=1e-4, atol=TOLERANCE.get(family, 1e-5)
        )


@pytest.mark.parametrize("family", FAMILIES)
def test_distillation_equals_torch_s_divergence_and_its_gradients(family: str) -> None:
    naive, packed, teacher = (tiny_model(family, NAME, seed) for seed in (1, 1, 2))
    speed_up_lora(packed)
    batch = pack(PREFIX, EXAMPLES)

    def log_probabilities(model: Any) -> torch.Tensor:
        output = model.get_base_model()(
            input_ids=batch.input_ids, position_ids=batch.position_ids, layout=batch.layout
        )
        logits: torch.Tensor = output.logits
        return logits[0, batch.predictors].log_softmax(-1)

    expected = torch.nn.functional.kl_div(
        log_probabilities(naive),
        log_probabilities(teacher).detach(),
        log_target=True,
        reduction="sum",
    )
    expected.backward()
    loss = packed_loss(packed.get_base_model(), batch, teacher.get_base_model())
    loss.backward()

    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)
    for name, gradient in gradients(naive).items():
        assert gradient.abs().max() > 0
        torch.testing.assert_close(gradients(packed)[name], gradient, rtol=1e-3, atol=1e-5)
    assert packed_loss(packed.get_base_model(), batch, naive.get_base_model()).abs() < 1e-4
    assert not any(weight.grad is not None for weight in teacher.parameters())


ids = st.lists(st.integers(0, 99), min_size=1, max_size=9)


@settings(max_examples=25)
@given(prefix=ids, examples=st.lists(st.builds(Example, ids, ids), min_size=1, max_size=6))
def test_packing_any_lengths_changes_nothing(prefix: list[int], examples: list[Example]) -> None:
    """Also a batch of one, examples as long as each other, and a prefix of one token."""
    naive, packed = MODELS
    naive.zero_grad()
    packed.zero_grad()
    expected = naive_loss(naive, prefix, examples)
    loss = packed_loss(packed.get_base_model(), pack(prefix, examples, dtype=torch.float64))
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    expected.backward()
    loss.backward()
    found = gradients(packed)
    for name, gradient in gradients(naive).items():
        assert (found[name] - gradient).norm() <= 1e-3 * gradient.norm() + 1e-5


@pytest.mark.parametrize("family", FAMILIES)
def test_gradient_checkpointing_changes_nothing(family: str) -> None:
    plain, thrifty = tiny_model(family, NAME), tiny_model(family, NAME)
    batch = pack(PREFIX, EXAMPLES)
    losses, kept = [], []
    for model in (plain, thrifty):
        speed_up_lora(model)
        if model is thrifty:
            checkpoint_gradients(model)
        model.train()
        saved: list[torch.Tensor] = []
        with torch.autograd.graph.saved_tensors_hooks(keep_in(saved), lambda tensor: tensor):
            losses.append(packed_loss(model.get_base_model(), batch))
        kept.append(len(saved))
        losses[-1].backward()
    assert kept[1] < kept[0] / 2, "it does spare memory"
    assert losses[0].item() == losses[1].item()
    for name, gradient in gradients(plain).items():
        assert torch.equal(gradients(thrifty)[name], gradient)


def keep_in(saved: list[torch.Tensor]) -> Callable[[torch.Tensor], torch.Tensor]:
    def keep(tensor: torch.Tensor) -> torch.Tensor:
        saved.append(tensor)
        return tensor

    return keep


def test_accumulating_small_packs_equals_one_large_pack() -> None:
    whole, parts = tiny_model("llama", NAME), tiny_model("llama", NAME)
    packed_loss(whole.get_base_model(), pack(PREFIX, EXAMPLES)).backward()
    splits = list(split_by_tokens(EXAMPLES, len(PREFIX), max_tokens=14))
    assert len(splits) > 1
    for part in splits:
        packed_loss(parts.get_base_model(), pack(PREFIX, part)).backward()
    for name, gradient in gradients(whole).items():
        torch.testing.assert_close(gradients(parts)[name], gradient, rtol=1e-4, atol=1e-5)


def test_examples_do_not_see_each_other() -> None:
    model = tiny_model("llama", NAME).get_base_model()
    together = packed_loss(model, pack(PREFIX, EXAMPLES))
    alone = sum(packed_loss(model, pack(PREFIX, [example])).item() for example in EXAMPLES)
    assert together.item() == pytest.approx(alone, rel=1e-5)


def test_split_keeps_every_example_in_order_even_one_too_long() -> None:
    splits = list(split_by_tokens(EXAMPLES, len(PREFIX), max_tokens=1))
    assert splits == [[example] for example in EXAMPLES]


READ = [
    Example([11, 12, 13, 6], [21, 22], 3, [0, 2], [1, 0]),
    Example([31, 6], [41, 42, 43, 44, 45], 1, [0], [2]),
    Example([51, 52, 53, 54, 6], [61]),  # causally
    Example([71, 72, 6], [81, 82, 83], 2, [0, 1], [3, 4]),
]


@pytest.mark.parametrize("family", FAMILIES)
def test_reading_both_ways_equals_one_sentence_at_a_time_with_a_mask(family: str) -> None:
    naive, packed = tiny_model(family, "eager"), tiny_model(family, NAME)
    speed_up_lora(packed)
    heads = [WordHeadModule(model.config, ["A", "B"], early=True) for model in (naive, packed)]

    answer, words = torch.zeros(()), dict.fromkeys(heads[0].depths, torch.zeros(()))
    for example in READ:
        prompt = [*PREFIX, *example.prompt]
        ids = torch.tensor([prompt + example.response])
        length = ids.shape[1]
        allowed = torch.ones(length, length).tril().bool()
        sentence = slice(len(PREFIX), len(PREFIX) + example.sentence)
        allowed[sentence, sentence] = True
        mask = torch.where(allowed, 0.0, torch.finfo(torch.float32).min)[None, None]
        output = naive(input_ids=ids, attention_mask=mask, output_hidden_states=True)
        answer = answer + torch.nn.functional.cross_entropy(
            output.logits[0, len(prompt) - 1 : -1], torch.tensor(example.response), reduction="sum"
        )
        places = [len(PREFIX) + end for end in example.word_ends]
        for depth in words if places else ():
            logits = heads[0](output.hidden_states[depth][0, places], depth)
            words[depth] = words[depth] + torch.nn.functional.cross_entropy(
                logits, torch.tensor(example.tags), reduction="sum"
            )
    (answer + sum(words.values())).backward()
    losses = packed_losses(packed.get_base_model(), pack(PREFIX, READ), head=heads[1])
    (losses.answer + sum(losses.words.values())).backward()

    assert losses.answer.item() == pytest.approx(answer.item(), rel=1e-5)
    base = packed.get_base_model()
    assert packed_loss(base, pack(PREFIX, READ), base).abs() < 1e-4, "a teacher reads likewise"
    for depth, loss in words.items():
        assert losses.words[depth].item() == pytest.approx(loss.item(), rel=1e-5)
    for one, other in ((naive, packed), (heads[0], heads[1])):
        for name, gradient in gradients(one).items():
            assert gradient.abs().max() > 0
            torch.testing.assert_close(
                gradients(other)[name], gradient, rtol=1e-4, atol=TOLERANCE.get(family, 1e-5)
            )
