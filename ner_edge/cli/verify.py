"""`ner-edge verify`: check a model file."""

from typing import Annotated

import typer

from ner_edge.cli.options import ThreadsOption
from ner_edge.errors import UsageError
from ner_edge.terminal.streams import printable


def verify(
    model: Annotated[str, typer.Argument(help="A GGUF, or conll2003-135m[:quant].")],
    against: Annotated[
        str | None,
        typer.Option(help="Its base (as for export): compare with that model in torch, float32."),
    ] = None,
    adapter: Annotated[
        str | None, typer.Option(help="The adapter in it, for --against: folder or hub id.")
    ] = None,
    manifest: Annotated[
        bool, typer.Option("--manifest", help="Add what was found to the JSON file beside it.")
    ] = False,
    threads: ThreadsOption = None,
) -> None:
    """Check that a model file is whole, is the one of its manifest, and works here (else exit 1).

    With --against, also that it computes what base and adapter compute in torch: a file in f32,
    f16 or bf16 must be near; for a quantized one the figures are only shown.
    """
    from ner_edge.builtin import resolve_model
    from ner_edge.export.verify.verify import Verification
    from ner_edge.models.resolve import resolve_base, resolve_folder
    from ner_edge.terminal.progress import progress_bar

    if adapter is not None and against is None:
        raise UsageError("--adapter belongs to --against: give the base too")
    with progress_bar("verifying") as update:
        verification = Verification(
            resolve_model(model),
            against=None if against is None else resolve_base(against),
            adapter=None if adapter is None else resolve_folder(adapter),
            threads=threads,
            progress=update,
        )
        for check in verification:
            print(printable(str(check), keep=""), flush=True)
    if not verification.passed:
        raise typer.Exit(1)
    if manifest:
        print(verification.record())
