"""`ner-edge serve`: tag texts over HTTP, and in a page."""

from typing import TYPE_CHECKING, Annotated

import typer

from ner_edge.cli.options import DecoderOption, DepthOption, GpuOption, ThreadsOption, finite
from ner_edge.errors import missing_extra
from ner_edge.terminal.streams import say

if TYPE_CHECKING:
    from pathlib import Path

    from ner_edge.tagger import Tagger


def serve(
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model", "-m", help="A GGUF, or conll2003-135m[:quant]; repeat to compare models."
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0 picks a free one.")
    ] = 8000,
    api_key: Annotated[
        str | None,
        typer.Option(
            envvar="NER_EDGE_API_KEY",
            help="Answer only requests with this key; required if others can reach --host. Better "
            "set as NER_EDGE_API_KEY.",
        ),
    ] = None,
    no_auth: Annotated[
        bool, typer.Option("--no-auth", help="Answer anyone who can reach --host, without a key.")
    ] = False,
    max_body: Annotated[
        float,
        typer.Option(
            min=0.001,
            callback=finite,
            help="Maximum size of a request in megabytes.",
            metavar="MB",
        ),
    ] = 2.0,
    max_texts: Annotated[
        int, typer.Option(min=1, help="Maximum number of texts in a request.")
    ] = 1000,
    max_requests: Annotated[
        int, typer.Option(min=1, help="Maximum number of requests at a time; others must retry.")
    ] = 128,
    timeout: Annotated[
        float,
        typer.Option(
            min=0.1, callback=finite, help="Maximum time to answer a request, in seconds."
        ),
    ] = 600.0,
    decoder: DecoderOption = None,
    depth: DepthOption = None,
    threads: ThreadsOption = None,
    gpu_layers: GpuOption = None,
) -> None:
    """Tag texts over HTTP, and in a page at http://127.0.0.1:8000."""
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
