"""`ner-edge verify`: check a model file."""

from typing import Annotated

import typer

from ner_edge.cli.options import ThreadsOption
from ner_edge.errors import UsageError
from ner_edge.terminal.streams import printable


def verify(
    model: Annotated[str, typer.Argument(help="GGUF file, or conll2003-135m[:quant].")],
    against: Annotated[
        str | None,
        typer.Option(help="Base model to compare with in torch (needs the train extra)."),
    ] = None,
    adapter: Annotated[
        str | None, typer.Option(help="With --against: the adapter merged in, a folder or hub id.")
    ] = None,
    manifest: Annotated[
        bool,
        typer.Option("--manifest", help="Write the results to the JSON manifest beside the file."),
    ] = False,
    threads: ThreadsOption = None,
) -> None:
    """Check that a model file is intact, matches its manifest, and works on this machine.

    With --against, also compare its token probabilities with those of base and
    adapter in torch. Those of an f32, f16 or bf16 file must be close; for smaller
    types the difference is only shown. Exits with 1 if a check fails.
    """
    from ner_edge.builtin import resolve_model
    from ner_edge.export.verify.verify import Verification
    from ner_edge.models.resolve import resolve_base, resolve_folder
    from ner_edge.terminal.progress import progress_bar

    if adapter is not None and against is None:
        raise UsageError("--adapter needs --against: give the base too")
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
