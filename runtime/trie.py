"""The copy automaton in tokens: which tokens may come next, and which move they spell."""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from ner_edge.prompt import Tokenize
from ner_edge.runtime.automaton import CopyAutomaton, Move, State

Moves = tuple[Move, ...]
Node = dict[int, "Node | Moves"]
"""Next token → the rest of the trie, or the moves that this token completes (nearly always one)."""

_BATTERY = (
    "EU rejects German call .",
    "[EU | ORG] rejects [German | MISC] call to boycott [British | MISC] lamb .",
    'He said : " we \'ll see , 3-4 ( 1996-08-22 ) " $ 1,000.50 at 7.30 %',
    "[São Paulo | LOC] naïve Zürich 東京 Москва שלום مرحبا 😀 e\u0301",
    "https://example.org/a?b=c x@y.org #tag @name ... -- '' `` [ ] | [[ ]] || <|im_end|>",
)


class ChunkTokenizer:
    """Tokenizes the output chunk by chunk, and caches frequent chunks.

    Byte-level BPE starts a new pre-token at each space, so that each chunk always has the same
    tokens. `chunks_tokenize_alone` checks that a vocabulary does so.
    """

    def __init__(self, tokenize: Tokenize) -> None:
        self.tokens = lru_cache(maxsize=50_000)(lambda chunk: tuple(tokenize(chunk)))

    def of_move(self, move: Move) -> tuple[int, ...]:
        """Return the tokens that write `move`."""
        if len(move.chunks) == 1:
            return self.tokens(move.chunks[0])
        return tuple(token for chunk in move.chunks for token in self.tokens(chunk))

    def of_words(self, words: Sequence[str]) -> list[int]:
        """Return the tokens of the words joined by single spaces."""
        tokens = list(self.tokens(words[0]))
        for word in words[1:]:
            tokens += self.tokens(" " + word)
        return tokens


def chunks_tokenize_alone(tokenize: Tokenize) -> bool:
    """Whether a vocabulary starts a new pre-token at each space in a battery of difficult texts."""
    chunks = ChunkTokenizer(tokenize)
    return all(chunks.of_words(text.split(" ")) == tokenize(text) for text in _BATTERY)


def build_trie(automaton: CopyAutomaton, state: State, chunks: ChunkTokenizer) -> Node:
    """Return the trie of all moves from `state`; its paths tell any two moves apart."""
    paths = [_Path(chunks.of_move(move), (move,)) for move in automaton.moves(state)]
    # The tokens of one move may be a prefix of another's: ` [` and ` [[` if the word is a bracket.
    # They are then told apart by the moves that may follow the shorter one.
    while shorter := _begins_another(paths):
        paths.remove(shorter)
        for move in automaton.moves(shorter.moves[-1].target):
            paths.append(_Path(shorter.tokens + chunks.of_move(move), (*shorter.moves, move)))
    root: Node = {}
    for tokens, moves in paths:
        node = root
        for token in tokens[:-1]:
            below = node.setdefault(token, {})
            assert isinstance(below, dict)
            node = below
        node[tokens[-1]] = moves
    return root


class _Path(NamedTuple):
    tokens: tuple[int, ...]
    moves: Moves


def _begins_another(paths: Sequence[_Path]) -> _Path | None:
    for path in paths:
        for other in paths:
            if path is not other and other.tokens[: len(path.tokens)] == path.tokens:
                return path
    return None
