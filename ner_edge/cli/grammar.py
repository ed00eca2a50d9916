"""`ner-edge grammar`: a sentence's grammar, for llama.cpp's own tools."""

from typing import Annotated

import typer

from ner_edge.cli.options import ModelOption
from ner_edge.terminal.streams import as_utf8, check_stdout_is_open


def grammar(
    text: Annotated[str, typer.Argument(help="A sentence, or several.")],
    model: ModelOption = None,
    request: Annotated[
        bool, typer.Option(help="Print a JSON body for llama-server's /completion instead.")
    ] = False,
) -> None:
    """Print the grammar of a sentence's possible answers, for llama.cpp's own tools.

    ner-edge grammar --request "Ada lives in London." | curl -d @- localhost:8080/completion
    """
    import json

    from ner_edge.runtime.grammar import gbnf
    from ner_edge.segment import segment
    from ner_edge.tagger import Tagger

    check_stdout_is_open()
    with Tagger.load(model) as tagger:
        for sentence in segment(as_utf8(text)):
            words = [word.text for word in sentence]
            if request:
                print(json.dumps(tagger.completion_request(words)))
            else:
                print(gbnf(words, list(tagger.task.labels)), end="")
