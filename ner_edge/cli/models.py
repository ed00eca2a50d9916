"""`ner-edge models`: the models on this machine."""

from typing import Annotated

import typer

from ner_edge.errors import UsageError
from ner_edge.terminal.streams import check_stdout_is_open, printable, say

models_app = typer.Typer(name="models")


@models_app.callback(invoke_without_command=True)
def models(context: typer.Context) -> None:
    """List the named models and bases with their size, F1 on CoNLL-2003 testa, and file."""
    if context.invoked_subcommand is not None:
        return
    from ner_edge.stored import stored_models

    check_stdout_is_open()
    rows = [("NAME", "MB", "F1", "FILE")]
    for model in stored_models():
        place = printable(str(model.path), keep="") if model.path else "-"
        rows.append(
            (
                model.name,
                f"{model.bytes / 1e6:.1f}",
                "-" if model.f1 is None else f"{model.f1:.2f}",
                f"{place} (of another version)" if model.outdated else place,
            )
        )
    width = max(len(name) for name, *_ in rows)
    for name, size, f1, place in rows:
        print(f"{name:<{width}}  {size:>6}  {f1:>5}  {place}")


@models_app.command()
def pull(
    names: Annotated[
        list[str],
        typer.Argument(help="conll2003-135m[:quant], the name of a base, or a hub id."),
    ],
) -> None:
    """Download models and everything they need to run without a network."""
    from ner_edge.stored import pull as pull_model

    check_stdout_is_open()
    for name in names:
        for path in pull_model(name):
            print(printable(str(path), keep=""))


@models_app.command()
def rm(
    names: Annotated[
        list[str], typer.Argument(help="conll2003-135m[:quant], or the name of a base.")
    ],
) -> None:
    """Remove models from this machine; they can be built or downloaded again."""
    from ner_edge.stored import remove

    for name in names:
        removed = remove(name)
        if not removed:
            raise UsageError(f"{name}: is not on this machine")
        for path in removed:
            say(f"removed {path}")
