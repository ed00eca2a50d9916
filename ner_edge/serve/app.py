"""The web application: routes, middleware and errors."""

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from ner_edge import __version__
from ner_edge.errors import NerEdgeError
from ner_edge.serve.guard import Guard
from ner_edge.serve.lifetime import Lifetime
from ner_edge.serve.limits import Limits
from ner_edge.serve.metrics import CountRequests, Metrics
from ner_edge.serve.models import Models
from ner_edge.serve.refusal import Refusal, error_response
from ner_edge.serve.routes import Routes
from ner_edge.serve.settings import ServeSettings


def make_app(models: Models, settings: ServeSettings) -> FastAPI:
    """Return the ASGI application that serves `models`."""
    app = FastAPI(
        title="ner-edge",
        version=__version__,
        description="Finds named entities. Offsets count characters (code points), half-open.",
        docs_url=None,  # these two pages load scripts from elsewhere
        redoc_url=None,
    )
    metrics = Metrics(models)
    routes = Routes(models, settings, metrics).router
    app.include_router(routes)
    app.mount("/page", StaticFiles(packages=[("ner_edge.serve", "page")]))
    # The one that is added last sees a request first.
    app.add_middleware(Lifetime, timeout=settings.timeout)
    app.add_middleware(Limits, settings=settings)
    app.add_middleware(Guard, settings=settings)
    paths = [route.path for route in routes.routes if isinstance(route, APIRoute)]
    app.add_middleware(CountRequests, metrics=metrics, paths=paths)
    for kind in (NerEdgeError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, _answer_error)
    return app


def _answer_error(request: Request, error: Exception) -> Response:
    if isinstance(error, Refusal):
        return error.response()
    if isinstance(error, HTTPException):
        return error_response(error.status_code, str(error.detail), error.headers)
    if isinstance(error, RequestValidationError):
        return error_response(400, _first_problem(error))
    return error_response(400, str(error))


def _first_problem(error: RequestValidationError) -> str:
    """Return where the first problem is, and what: `texts[0]: Input should be a valid string`."""
    problem = error.errors()[0]
    if problem["type"] == "json_invalid":
        return f"the request is not JSON: {problem['ctx']['error']}"
    name = ""
    for part in problem["loc"][1:]:  # after "body"
        name += f"[{part}]" if isinstance(part, int) else f".{part}"
    message = problem["msg"].removeprefix("Value error, ")
    return f"{name.removeprefix('.') or 'the request'}: {message}"
