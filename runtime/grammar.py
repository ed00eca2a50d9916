"""The copy automaton of a sentence as GBNF, which llama.cpp's own grammar sampler takes."""

from collections.abc import Sequence
from typing import Any

from ner_edge.runtime.automaton import START, CopyAutomaton, State


def gbnf(words: Sequence[str], labels: Sequence[str]) -> str:
    """Return a grammar of exactly the bracketed readings of `words`, each ending with a newline.

    Format: https://github.com/ggml-org/llama.cpp/blob/master/grammars/README.md
    """
    automaton = CopyAutomaton(words, labels)
    rules = [f"root ::= {_name(START)}"]
    # Moves do not depend on where an entity began, so one rule serves all beginnings.
    states = [State(i, None) for i in range(len(words))]
    states += [State(i, 0) for i in range(1, len(words) + 1)]
    for state in states:
        moves = []
        for move in automaton.moves(state):
            end = "" if move.target == automaton.end else f" {_name(move.target)}"
            moves.append(_literal("".join(move.chunks)) + end)
        rules.append(f"{_name(state)} ::= {' | '.join(moves)}")
    return "\n".join(rules) + "\n"


def completion_request(
    prompt: Sequence[int], words: Sequence[str], labels: Sequence[str], longest: int
) -> dict[str, Any]:
    """Return the body of a request to `/completion` of llama.cpp's `llama-server`.

    The server then answers as `--decoder grammar` does. The prompt is sent as tokens, so that no
    text in it is parsed as a special token. `longest` limits the tokens of the answer.

    Documented in https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md
    """
    return {
        "prompt": list(prompt),
        "grammar": gbnf(words, labels),
        "temperature": 0.0,
        "n_predict": longest,
        "cache_prompt": True,
    }


def _name(state: State) -> str:
    return f"{'o' if state.begin is None else 'i'}{state.position}"


def _literal(text: str) -> str:
    escapes = {'"': '\\"', "\\": "\\\\", "\n": "\\n"}
    return '"' + "".join(escapes.get(c) or _character(c) for c in text) + '"'


def _character(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02X}" if code < 0x20 or code == 0x7F else character
