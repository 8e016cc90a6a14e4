"""What payment gateways tell us."""

from typing import Annotated

from fastapi import APIRouter, BackgroundTasks, Depends, Path, Request, Response
from starlette.concurrency import run_in_threadpool

from billing.errors import InvalidError, UnauthenticatedError
from ingest_api.auth import public
from ingest_api.dependencies import CurrentServices
from ingest_api.resources.payments import collector_of
from invoicing.gateways.protocol import InvalidSignatureError, RefusedError

router = APIRouter(prefix="/webhooks", tags=["webhooks"])


@router.post(
    "/{gateway}",
    status_code=204,
    summary="Take a gateway's message",
    dependencies=[Depends(public)],
    response_class=Response,
)
async def take(
    request: Request,
    services: CurrentServices,
    afterwards: BackgroundTasks,
    gateway: Annotated[str, Path(pattern=r"^[a-z][a-z0-9_-]{0,31}$")],
) -> None:
    """Verify a message over its raw body, keep it once, answer; it is applied after that.

    The signature stands in for a key. A message that came before is answered like the first time.
    """
    body = await request.body()
    headers = {name.lower(): value for name, value in request.headers.items()}
    collector = collector_of(services)
    try:
        notice = collector.gateways.get(gateway).notice_of(headers, body)
    except InvalidSignatureError as error:
        raise UnauthenticatedError(
            "The signature does not fit.", code="invalid_signature"
        ) from error
    except RefusedError as error:
        raise InvalidError("This is no message of that gateway.", code="not_a_message") from error
    await run_in_threadpool(collector.keep, gateway, notice, body)
    afterwards.add_task(collector.apply_or_leave, gateway, notice.event_id)
