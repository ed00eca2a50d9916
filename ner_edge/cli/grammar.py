"""`ner-edge grammar`: the grammar of a sentence, for llama.cpp's own tools."""

from typing import Annotated

import typer

from ner_edge.cli.options import ModelOption
from ner_edge.terminal.streams import as_utf8, check_stdout_is_open, say


def grammar(
    text: Annotated[str, typer.Argument(help="One or more sentences.")],
    model: ModelOption = None,
    request: Annotated[
        bool,
        typer.Option(
            help="Print the JSON body of a request to llama-server's /completion instead."
        ),
    ] = False,
) -> None:
    """Print the grammar (GBNF) of the answers to a sentence, for llama.cpp's own tools.

    ner-edge grammar --request "Ada lives in London." | curl -d @- localhost:8080/completion
    """
    import json

    from ner_edge.runtime.grammar import gbnf
    from ner_edge.segment import segment
    from ner_edge.tagger import Tagger

    check_stdout_is_open()
    with Tagger.load(model) as tagger:
        if tagger.decoder == "auto":
            say(
                "warning: this model reads both ways, but llama.cpp's tools read from left to "
                "right: they may find other entities than `ner-edge tag`"
            )
        for sentence in segment(as_utf8(text)):
            words = [word.text for word in sentence]
            if request:
                print(json.dumps(tagger.completion_request(words)))
            else:
                print(gbnf(words, list(tagger.task.labels)), end="")
