"""What monitors ask: whether requests are taken, and the figures."""

from fastapi import Request, Response

from .routes import answers, look, routes

router = routes()


@look(router, "/health/ready")
async def ready(request: Request) -> dict[str, str]:
    return {"status": "ready"}


@look(
    router,
    "/metrics",
    response_class=Response,
    **answers(json=False, plain="Prometheus' text format."),
)
async def metrics(request: Request) -> Response:
    return Response(request.app.state.figures.text(), media_type="text/plain; version=0.0.4")
