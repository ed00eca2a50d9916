"""The models that a server offers, by name."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from ner_edge.builtin import BUILT_IN, DEFAULT_MODEL, resolve_model
from ner_edge.errors import UsageError
from ner_edge.serve.refusal import Refusal
from ner_edge.tagger import Tagger


class Models:
    """Loads the models of `files`, by name, with `load`; the first is the default."""

    def __init__(self, files: Mapping[str, Path], load: Callable[[Path], Tagger]) -> None:
        self._files = files
        self._load = load
        self._loaded: dict[str, Tagger] = {}

    @property
    def names(self) -> list[str]:
        """The names of all models, loaded or not."""
        return list(self._files)

    @property
    def are_ready(self) -> bool:
        """Whether all models are loaded."""
        return len(self._loaded) == len(self._files)

    @property
    def loaded(self) -> dict[str, Tagger]:
        """The models that are loaded so far."""
        return dict(self._loaded)

    def load(self) -> None:
        """Load all models. Raises `ModelError` and `UsageError` as `Tagger.load` does."""
        for name, path in self._files.items():
            self._loaded[name] = self._load(path)

    def close(self) -> None:
        """Free all models."""
        while self._loaded:
            self._loaded.popitem()[1].close()

    def get(self, name: str | None) -> tuple[str, Tagger]:
        """Return a model and its name; None names the default model.

        Raises `Refusal` if there is no such model, or if it is not loaded yet.
        """
        name = name or self.names[0]
        if name not in self._files:
            raise Refusal(404, f"no model '{name}'; there is {', '.join(self.names)}")
        if name not in self._loaded:
            raise Refusal(503, f"the model {name} is being loaded; try again", Retry_After="2")
        return name, self._loaded[name]


def files_by_name(models: Iterable[str] | None) -> dict[str, Path]:
    """Return the file of each model that `-m` names, by the name under which it is served.

    That is the name of a built-in model, or the name of a file without its extension. None means
    the default model. Raises `ModelError` if there is no such file, `UsageError` if two would have
    the same name.
    """
    files: dict[str, Path] = {}
    for model in models or [f"{DEFAULT_MODEL}:{BUILT_IN[DEFAULT_MODEL].quant}"]:
        path = resolve_model(model)
        name = Path(model).stem if Path(model).is_file() else model
        if name in files:
            raise UsageError(f"-m {model}: another model is already served as {name}")
        files[name] = path
    return files
