"""The bodies of requests, with examples for the OpenAPI description."""

from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from ner_edge.serve.answers import WRITERS

_TEXT = "Ada Lovelace lived in London."
_ENTITIES = [
    {"start": 0, "end": 12, "text": "Ada Lovelace", "label": "PER", "score": 0.962973},
    {"start": 22, "end": 28, "text": "London", "label": "LOC", "score": 0.979847},
]
_BRACKETS = "[Ada Lovelace | PER] lived in [London | LOC]."
_MODEL = "conll2003-135m:100mb"


def _text(text: str) -> str:
    if "\0" in text:
        raise ValueError("contains a NUL")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("contains half of a surrogate pair") from None
    return text


def _format(name: str) -> str:
    if name not in WRITERS:
        raise ValueError(f"is not one of {', '.join(WRITERS)}")
    return name


Text = Annotated[str, AfterValidator(_text)]
Format = Annotated[str, AfterValidator(_format), Field(json_schema_extra={"enum": [*WRITERS]})]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    min_score: float = Field(0.0, ge=0, le=1, description="Leave out entities with a lower score.")
    model: str | None = Field(None, description="A name in /models; by default the first.")


class TagRequest(_Request):
    """One `text`, or several `texts`."""

    text: Text | None = None
    texts: list[Text] | None = None
    format: Format = Field(
        "jsonl", description="jsonl gives entities; the others a string per text."
    )

    @model_validator(mode="after")
    def _has_either(self) -> Self:
        if (self.text is None) == (self.texts is None):
            raise ValueError("give either text or texts")
        return self


class StreamRequest(_Request):
    """A text whose sentences are sent as soon as they are tagged."""

    text: Text


class EntityToWrite(BaseModel):
    """An entity, as `/tag` returns it."""

    start: int = Field(ge=0)
    end: int
    label: str = Field(pattern=r"^[^\s\[\]|]{1,100}$")
    score: float = Field(1.0, ge=0, le=1)


class FormatRequest(BaseModel):
    """A text, and those of its entities that are to be written."""

    text: Text
    entities: list[EntityToWrite] = Field(description="In order; they do not overlap.")
    format: Format

    @model_validator(mode="after")
    def _are_in_order(self) -> Self:
        position = 0
        for number, entity in enumerate(self.entities):
            if not position <= entity.start < entity.end <= len(self.text):
                raise ValueError(f"entities[{number}] is out of order or outside the text")
            position = entity.end
        return self


class LabelStudioTask(BaseModel):
    """A task of Label Studio; `data` holds its text, under the key that the project names."""

    data: dict[str, Any]


class PredictRequest(BaseModel):
    """Label Studio's request for predictions."""

    tasks: list[LabelStudioTask]
    label_config: str


class SetupRequest(BaseModel):
    """Label Studio's request when a project is connected."""

    schema_: str = Field(alias="schema", description="The project's labelling configuration.")


TAG_EXAMPLES: dict[str, Any] = {
    "one text": {"value": {"text": _TEXT}},
    "several texts, in brackets": {
        "value": {"texts": [_TEXT, "Nobody came."], "format": "brackets", "min_score": 0.5}
    },
}
TAG_ANSWERS: dict[str, Any] = {
    "one text": {"value": {"model": _MODEL, "entities": _ENTITIES}},
    "several texts, in brackets": {
        "value": {"model": _MODEL, "results": [{"output": _BRACKETS}, {"output": "Nobody came."}]}
    },
}
STREAM_EXAMPLES: dict[str, Any] = {"a text": {"value": {"text": _TEXT}}}
STREAM_ANSWER = (
    f'{{"start": 0, "end": {len(_TEXT)}, "entities": [...]}}\n'
    f'{{"done": true, "model": "{_MODEL}", "sentences": 1, "entities": 2, "seconds": 0.08}}\n'
)
