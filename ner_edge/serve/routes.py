"""What the server answers."""

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from importlib.resources import files
from typing import Annotated, Any

from fastapi import APIRouter, Body
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.types import Send

from ner_edge.errors import NerEdgeError
from ner_edge.runtime.tagger import Entity
from ner_edge.serve import messages
from ner_edge.serve.answers import entity_objects, written
from ner_edge.serve.label_studio import read_config
from ner_edge.serve.metrics import Metrics, Progress
from ner_edge.serve.models import Models
from ner_edge.serve.refusal import Refusal
from ner_edge.serve.settings import ServeSettings
from ner_edge.serve.tagging import Sentence, tag_sentences, tag_texts

_NDJSON = "application/x-ndjson"


class Routes:
    """The answers of a server to each kind of request."""

    def __init__(self, models: Models, settings: ServeSettings, metrics: Metrics) -> None:
        self._models = models
        self._settings = settings
        self._metrics = metrics
        self.router = APIRouter()
        add = self.router.add_api_route
        add("/", self.page, include_in_schema=False)
        add("/health", self.health, summary="Whether all models are loaded (else 503)")
        add("/models", self.list_models, summary="The models and their labels")
        add("/metrics", self.measure, summary="Metrics for Prometheus")
        add(
            "/tag",
            self.tag,
            methods=["POST"],
            summary="Find the entities of one text or several",
            responses=_answers("application/json", examples=messages.TAG_ANSWERS),
        )
        add(
            "/tag/stream",
            self.stream,
            methods=["POST"],
            summary="Find the entities of a long text, sentence by sentence",
            responses=_answers(_NDJSON, example=messages.STREAM_ANSWER),
        )
        add(
            "/format",
            self.format,
            methods=["POST"],
            summary="Write entities that were found before in another format",
        )
        add("/setup", self.set_up, methods=["POST"], summary="For Label Studio: connect a project")
        add("/predict", self.predict, methods=["POST"], summary="For Label Studio: label tasks")

    async def page(self) -> HTMLResponse:
        """The page for people."""
        return HTMLResponse(files("ner_edge.serve").joinpath("page/index.html").read_bytes())

    async def health(self) -> JSONResponse:
        """503 until all models are loaded."""
        ready = self._models.are_ready
        return JSONResponse({"status": "UP" if ready else "LOADING"}, 200 if ready else 503)

    async def list_models(self) -> JSONResponse:
        """The first model is the default."""
        models = []
        for name in self._models.names:
            _, tagger = self._models.get(name)
            labels = tagger.task.labels
            models.append(
                {
                    "name": name,
                    "labels": labels,
                    "decoder": tagger.decoder,
                    "hardware": tagger.hardware,
                }
            )
        return JSONResponse({"models": models})

    async def measure(self) -> Response:
        """Counters and histograms."""
        return Response(self._metrics.text(), media_type="text/plain; version=0.0.4")

    async def tag(
        self,
        request: Annotated[messages.TagRequest, Body(openapi_examples=messages.TAG_EXAMPLES)],
    ) -> JSONResponse:
        """`texts` are answered by `results`, in order."""
        texts = [request.text or ""] if request.texts is None else request.texts
        self._check_number(texts)
        name, tagger = self._models.get(request.model)
        progress = Progress(self._metrics, name)
        found = await tag_texts(tagger, texts, request.min_score, progress)
        results = [
            _result(request.format, text, entities)
            for text, entities in zip(texts, found, strict=True)
        ]
        answer = results[0] if request.texts is None else {"results": results}
        return JSONResponse({"model": name, **answer})

    async def stream(
        self,
        request: Annotated[messages.StreamRequest, Body(openapi_examples=messages.STREAM_EXAMPLES)],
    ) -> StreamingResponse:
        """One JSON object per line: each sentence, then a summary, in which `done` is true.

        An error after the first sentence is the last line, `{"error": message}`.
        """
        name, tagger = self._models.get(request.model)
        progress = Progress(self._metrics, name)

        async def lines() -> AsyncGenerator[str]:
            entities = 0
            sentences = tag_sentences(tagger, request.text, request.min_score, progress)
            try:
                async with aclosing(sentences):
                    async for sentence in sentences:
                        entities += len(sentence.entities)
                        yield _line(_sentence(sentence))
            except NerEdgeError as error:
                yield _line({"error": str(error)})
                return
            progress.end()
            counts = {"sentences": progress.sentences, "entities": entities}
            yield _line(
                {"done": True, "model": name, **counts, "seconds": round(progress.seconds, 3)}
            )

        return _Stream(lines())

    async def format(self, request: messages.FormatRequest) -> JSONResponse:
        """`output` has only the entities that are sent, such as those that a user has kept."""
        entities = [
            Entity(e.start, e.end, request.text[e.start : e.end], e.label, e.score)
            for e in request.entities
        ]
        return JSONResponse({"output": written(request.format, request.text, entities)})

    async def set_up(self, request: messages.SetupRequest) -> JSONResponse:
        """400 says why a project cannot use this model."""
        name, tagger = self._models.get(None)
        read_config(request.schema_, tagger.task)
        return JSONResponse({"model_version": name})

    async def predict(self, request: messages.PredictRequest) -> JSONResponse:
        """One prediction per task, in order, by the first model."""
        name, tagger = self._models.get(None)
        control = read_config(request.label_config, tagger.task)
        texts = [control.text_of(task) for task in request.tasks]
        self._check_number(texts)
        found = await tag_texts(tagger, texts, 0, Progress(self._metrics, name))
        results = [control.prediction(entities, name) for entities in found]
        return JSONResponse({"results": results, "model_version": name})

    def _check_number(self, texts: list[str]) -> None:
        if len(texts) > self._settings.max_texts:
            limit = f"{self._settings.max_texts} (--max-texts)"
            raise Refusal(413, f"the request has {len(texts)} texts; the limit is {limit}")


class _Stream(StreamingResponse):
    """Closes its generator at once when the client hangs up, not when Python happens to free it."""

    def __init__(self, lines: AsyncGenerator[str]) -> None:
        super().__init__(lines, media_type=_NDJSON)
        self._lines = lines

    async def stream_response(self, send: Send) -> None:
        async with aclosing(self._lines):
            await super().stream_response(send)


def _result(format: str, text: str, entities: list[Entity]) -> dict[str, Any]:
    if format == "jsonl":
        return {"entities": entity_objects(entities)}
    return {"output": written(format, text, entities)}


def _sentence(sentence: Sentence) -> dict[str, Any]:
    entities = entity_objects(sentence.entities)
    return {"start": sentence.start, "end": sentence.end, "entities": entities}


def _line(value: dict[str, Any]) -> str:
    return json.dumps(value) + "\n"  # in ASCII: some clients also split lines at U+0085 or U+2028


def _answers(media_type: str, **examples: Any) -> dict[int | str, dict[str, Any]]:
    schema = {"type": "object", "properties": {"error": {"type": "string"}}}
    refused = {"content": {"application/json": {"schema": schema}}}
    reasons = {
        400: "wrong request",
        404: "no such model",
        413: "too large",
        429: "too many requests",
        503: "loading or stopping",
        504: "too slow",
    }
    return {
        200: {"content": {media_type: examples}},
        **{status: {"description": reason, **refused} for status, reason in reasons.items()},
    }
