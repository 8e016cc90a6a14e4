"""The application: `uvicorn ingest_api.main:app`."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType

from fastapi import Depends, FastAPI, WebSocket
from fastapi.routing import APIRoute
from starlette.routing import WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from billing.clock import Clock, SystemClock
from billing.db.engine import open_engine
from billing.logs import configure_logs
from billing.settings import Settings
from ingest_api import health
from ingest_api.auth import require_declared_permissions
from ingest_api.collector import calm_collector
from ingest_api.documentation import DESCRIPTION, install_documentation
from ingest_api.envelope import API_VERSION
from ingest_api.errors import RESPONSES, install_error_handlers
from ingest_api.gateway import Gateway
from ingest_api.intake import authorization_routes, revisions
from ingest_api.intake.app import Intake
from ingest_api.intake.openapi import describe_hot_routes
from ingest_api.live.view import LIVE_PATH, LiveView
from ingest_api.metrics.serving import served_metrics
from ingest_api.parameters import known_parameters
from ingest_api.resources import ROUTERS, webhooks
from ingest_api.services import Services

PREFIX = "/api/v1"


class Api(FastAPI):
    """The framework's application, with some POST routes in front of all of it.

    What it does for every request costs as much as taking in an event.
    """

    hot_routes: Mapping[str, ASGIApp] = MappingProxyType({})
    """By path, what POST requests are handed to at once; they do everything themselves."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request, socket or lifespan."""
        if scope["type"] == "http" and scope["method"] == "POST":
            hot = self.hot_routes.get(scope["path"])
            if hot is not None:
                await hot(scope, receive, send)
                return
        await super().__call__(scope, receive, send)


def create_app(settings: Settings, clock: Clock | None = None) -> FastAPI:
    """The whole API; it connects to nothing before its lifespan begins.

    Raises:
        RuntimeError: if a route does not declare who may use it.
    """
    app = Api(
        title="OTPless Billing",
        description=DESCRIPTION,
        version=API_VERSION,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        responses=RESPONSES,
        lifespan=_lifespan,
        generate_unique_id_function=_operation_id,
        # we count ourselves; asking each time whether somebody else does is not free
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.settings = settings
    app.state.has_process = False
    app.state.clock = clock or SystemClock()
    app.state.intake = intake = Intake(settings, app.state.clock)
    app.hot_routes = {route.path: route.app for route in intake.routes}
    app.add_middleware(Gateway, let_in=intake.let_in, room=intake.room)
    install_error_handlers(app)
    install_documentation(app)
    app.include_router(health.router)
    for router in ROUTERS:
        # what a gateway adds to the address it was given is its own affair
        asked = [] if router is webhooks.router else [Depends(known_parameters)]
        app.include_router(router, prefix=PREFIX, dependencies=asked)
    app.include_router(revisions.router, prefix=PREFIX)
    app.include_router(authorization_routes.router, prefix=PREFIX)
    require_declared_permissions(app)
    # They have had their POST requests already; here they refuse other methods. They ask for their
    # permissions themselves.
    app.router.routes.extend(intake.routes)
    app.router.routes.append(WebSocketRoute(LIVE_PATH, _live))
    describe_hot_routes(app)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    configure_logs()
    settings: Settings = app.state.settings
    engine = open_engine(settings.require_database_url(), application="billing-api", pool_size=10)
    app.state.services = Services(engine, settings, app.state.clock)
    await app.state.intake.start()
    if app.state.has_process:
        calm_collector()
    try:
        limits = app.state.intake.request_limits
        app.state.live = live = LiveView(settings, engine, limits, app.state.clock)
        with served_metrics(settings.metrics_host, settings.api_metrics_port):
            yield
        await live.stop()
    finally:
        await app.state.intake.stop()
        engine.dispose()


async def _live(socket: WebSocket) -> None:
    live: LiveView = socket.app.state.live
    await live.serve(socket)


def _operation_id(route: APIRoute) -> str:
    """A stable name for generated clients, such as `create_customers`."""
    name = route.path_format.removeprefix(PREFIX)
    for character in "/{}-":
        name = name.replace(character, "_")
    return f"{route.name}_{name.strip('_')}"


app = create_app(Settings.load())
app.state.has_process = True
