"""The distributions of a model at the decisions of given answers.

Whole answers are evaluated at once, at the speed of prompt processing. Two models that read the
same answers differ only in their weights.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ner_edge.errors import DataError, ModelError
from ner_edge.prompt import PromptTokenizer
from ner_edge.runtime.automaton import PIPE, START, CopyAutomaton, Move
from ner_edge.runtime.batch import Run
from ner_edge.runtime.llama import PREFIX, LlamaModel
from ner_edge.runtime.prefix import evaluate_prefix
from ner_edge.runtime.reader import Tokenized, tokenize_words
from ner_edge.runtime.trie import ChunkTokenizer, Node, build_trie
from ner_edge.spans import Span
from ner_edge.tags import tags_of
from ner_edge.task import Task
from ner_edge.word_head import WordHead

Answer = tuple[Sequence[str], Sequence[Span]]
"""The words of a sentence, and the entities that the answer marks."""


class Branch(NamedTuple):
    """A decision between tokens on the path of an answer."""

    token: int
    """Index of the token after which it is taken."""
    candidates: tuple[int, ...]
    taken: int
    """Index of the token chosen among `candidates`."""


class AnswerPath(NamedTuple):
    """The tokens of a prompt, after the prefix, with its answer, and the decisions among them."""

    sentence: Tokenized
    """The first tokens."""
    tokens: list[int]
    branches: list[Branch]


class Decision(NamedTuple):
    """The probabilities of the legal branches, [branches], and the index of the one taken."""

    probabilities: NDArray[np.float64]
    taken: int


def answer_path(
    answer: Answer, labels: Sequence[str], prompts: PromptTokenizer, chunks: ChunkTokenizer
) -> AnswerPath:
    """Return the tokens of a sentence and its answer, without the last, after which nothing is
    decided.

    An entity that contains a literal pipe is not marked, since the notation cannot express it.
    Raises `DataError` for a label that is not one of `labels`.
    """
    words, spans = answer
    if unknown := {span.label for span in spans} - set(labels):
        raise DataError(f"label {min(unknown)} is not one of the task's ({', '.join(labels)})")
    automaton = CopyAutomaton(words, labels)
    sentence = tokenize_words([words], chunks)
    prompt = prompts.with_suffix(sentence.tokens)
    written = [token for move in _moves(automaton, answer) for token in chunks.of_move(move)]
    branches = []
    node: Node = build_trie(automaton, START, chunks)
    for number, token in enumerate(written, len(prompt) - 1):
        if len(node) > 1:
            candidates = tuple(node)
            branches.append(Branch(number, candidates, candidates.index(token)))
        below = node[token]
        node = below if isinstance(below, dict) else build_trie(automaton, below[-1].target, chunks)
    return AnswerPath(sentence, prompt + written[:-1], branches)


def _moves(automaton: CopyAutomaton, answer: Answer) -> Iterator[Move]:
    words, spans = answer
    begins = {span.start: span for span in spans if PIPE not in words[span.start : span.end]}
    state, entity = START, None
    while state != automaton.end:
        if entity and state.position == entity.end:
            move = next(m for m in automaton.close(state) if m.label == entity.label)
            entity = None
        elif entity is None and state.position in begins:
            entity = begins[state.position]
            opening = automaton.open(state)
            assert opening is not None
            move = opening
        else:
            copying = automaton.copy(state)
            assert copying is not None
            move = copying
        yield move
        state = move.target


def read_decisions(
    model: LlamaModel, task: Task, answers: Iterable[Answer], head: WordHead | None = None
) -> Iterator[list[Decision]]:
    """Yield the decisions of each answer, in order. `model` must be fresh.

    With the word head of the file, sentences are read both ways, and the decisions begin with the
    tags of the words if `model` gives states. Raises `ModelError` if the context cannot hold
    an answer.
    """
    prompts = PromptTokenizer(task.prefix, task.suffix, model.tokenize)
    evaluate_prefix(model, prompts.prefix)
    prefix = len(prompts.prefix)
    chunks = ChunkTokenizer(model.tokenize)
    group: list[tuple[Answer, AnswerPath]] = []
    for answer in answers:
        path = answer_path(answer, list(task.labels), prompts, chunks)
        if prefix + len(path.tokens) > model.context_size:
            raise ModelError("a sentence with its answer is longer than the model's context")
        if head and len(path.sentence.tokens) > model.batch_size:
            raise ModelError("a sentence is longer than the batch in which it is read")
        tokens = len(path.tokens) + sum(len(other.tokens) for _, other in group)
        if group and (tokens > model.batch_size or len(group) + 1 == model.sequences):
            yield from _read_group(model, prefix, group, head)
            group = []
        group.append((answer, path))
    if group:
        yield from _read_group(model, prefix, group, head)


def _read_group(
    model: LlamaModel,
    prefix: int,
    group: Sequence[tuple[Answer, AnswerPath]],
    head: WordHead | None,
) -> Iterator[list[Decision]]:
    # One batch, or several for a single answer that is longer.
    paths = [path for _, path in group]
    for sequence in range(1, len(group) + 1):
        model.share(PREFIX, sequence)
    found: list[list[Decision]] = [[] for _ in group]
    starts = [0 for _ in group]
    if head:
        found = _read_words(model, prefix, group, head)
        starts = [len(path.sentence.tokens) for path in paths]
    while any(start < len(path.tokens) for start, path in zip(starts, paths, strict=True)):
        runs, asked = [], []
        for sequence, (start, path) in enumerate(zip(starts, paths, strict=True), 1):
            end = start + model.batch_size
            branches = [branch for branch in path.branches if start <= branch.token < end]
            wanted = [branch.token - start for branch in branches]
            runs.append(Run(sequence, prefix + start, path.tokens[start:end], wanted))
            asked.append(branches)
        rows = model.decode(runs)
        for decisions, branches, start, row_of in zip(found, asked, starts, rows, strict=True):
            for branch in branches:
                logits = np.array(model.logits(row_of[branch.token - start], branch.candidates))
                weights = np.exp(logits - logits.max())
                decisions.append(Decision(weights / weights.sum(), branch.taken))
        starts = [start + model.batch_size for start in starts]
    for sequence in range(1, len(group) + 1):
        model.forget(sequence, 0)
    yield from found


def _read_words(
    model: LlamaModel,
    prefix: int,
    group: Sequence[tuple[Answer, AnswerPath]],
    head: WordHead,
) -> list[list[Decision]]:
    """Read the sentences of a group, and return the decisions about the tags of their words."""
    runs = [
        Run(sequence, prefix, path.sentence.tokens, path.sentence.ends)
        for sequence, (_, path) in enumerate(group, 1)
    ]
    read = model.read(runs)
    if not model.gives_states:
        return [[] for _ in group]
    found = []
    for ((words, spans), _), states in zip(group, read, strict=True):
        tags = tags_of(spans, len(words), head.labels)
        probabilities = np.exp(head.log_probabilities(states, head.last).astype(np.float64))
        found.append([Decision(p, tag) for p, tag in zip(probabilities, tags, strict=True)])
    return found


def mean_kl(reference: Iterable[Sequence[Decision]], other: Iterable[Sequence[Decision]]) -> float:
    """Return the mean KL divergence KL(reference ‖ other) of a decision, in nats.

    Both models must have read the same answers.
    """
    total, count = 0.0, 0
    for theirs, ours in zip(reference, other, strict=True):
        for p, q in zip(theirs, ours, strict=True):
            known = p.probabilities > 0
            ratio = p.probabilities[known] / np.maximum(q.probabilities[known], 1e-30)
            total += float(p.probabilities[known] @ np.log(ratio))
            count += 1
    return total / max(1, count)
