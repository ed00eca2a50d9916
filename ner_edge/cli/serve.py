"""`ner-edge serve`: tag texts over HTTP, and in a page."""

from typing import TYPE_CHECKING, Annotated

import typer

from ner_edge.cli.options import DecoderOption, DepthOption, GpuOption, ThreadsOption
from ner_edge.errors import missing_extra
from ner_edge.terminal.streams import say

if TYPE_CHECKING:
    from pathlib import Path

    from ner_edge.tagger import Tagger


def serve(
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model", "-m", help="A GGUF, or conll2003-135m[:quant]; repeat it to compare models."
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8000,
    api_key: Annotated[
        str | None,
        typer.Option(
            envvar="NER_EDGE_API_KEY",
            help="Answer only requests with this key, which an address that others can reach "
            "needs; better given as NER_EDGE_API_KEY.",
        ),
    ] = None,
    no_auth: Annotated[
        bool, typer.Option("--no-auth", help="Answer everyone who can reach the address.")
    ] = False,
    max_body: Annotated[
        float, typer.Option(min=0.001, help="Megabytes of a request.", metavar="MB")
    ] = 2.0,
    max_texts: Annotated[int, typer.Option(min=1, help="Texts of a request.")] = 1000,
    max_requests: Annotated[
        int, typer.Option(min=1, help="Requests at a time; more are told to try again.")
    ] = 128,
    timeout: Annotated[
        float, typer.Option(min=0.1, help="Seconds for the answer to a request.")
    ] = 600.0,
    decoder: DecoderOption = None,
    depth: DepthOption = None,
    threads: ThreadsOption = None,
    gpu_layers: GpuOption = None,
) -> None:
    """Tag texts over HTTP, and in a page for people at http://127.0.0.1:8000."""
    try:
        from ner_edge.serve.models import Models, files_by_name
        from ner_edge.serve.server import serve
        from ner_edge.serve.settings import ServeSettings
    except ImportError as error:
        raise missing_extra("serve", error) from None

    settings = ServeSettings(
        host=host,
        port=port,
        api_key=api_key,
        authenticate=not no_auth,
        max_body=int(max_body * 1e6),
        max_texts=max_texts,
        max_requests=max_requests,
        timeout=timeout,
    )
    if not settings.is_local and not api_key:
        say(f"warning: everyone who can reach {host} can use this server")

    def load(path: "Path") -> "Tagger":
        from ner_edge.tagger import Tagger

        return Tagger.load(
            path,
            decoder=decoder.value if decoder else None,
            depth=depth,
            threads=threads,
            gpu_layers=gpu_layers,
        )

    serve(Models(files_by_name(model), load), settings)
