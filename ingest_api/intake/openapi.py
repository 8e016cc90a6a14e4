"""The two hot routes in the API description: they are no FastAPI routes, so it is written here."""

from typing import Any, Final

from fastapi import FastAPI

from billing.wallets.holds import HoldState
from ingest_api.intake.admission import Durability, Status
from ingest_api.intake.authorizations import Reason
from ingest_api.intake.openapi_cloudevents import CLOUD_EVENT, CONTENTS, PARAMETERS

_ID: Final = {"type": "string", "pattern": "^[A-Za-z0-9_.:-]{1,128}$"}
_NUMBER: Final = {
    "oneOf": [{"type": "integer", "minimum": 0}, {"type": "string", "format": "decimal"}],
    "description": "An integer, or a decimal as text with at most 6 places.",
}
_ACCOUNT: Final = {
    "account_id": {"type": "string", "format": "uuid"},
    "alias": {"type": "string", "description": "Instead of `account_id`."},
}
_DIMENSIONS: Final = {
    "type": "object",
    "additionalProperties": {"type": "string"},
    "maxProperties": 32,
    "description": "Such as country, channel, status, operator, route, traffic_type.",
}

_EVENT: Final = {
    "type": "object",
    "title": "Event",
    "additionalProperties": False,
    "required": ["source", "event_id", "event_type", "occurred_at"],
    "properties": {
        "source": {
            **CLOUD_EVENT["properties"]["source"],
            "description": "Who sends; ids are unique within it.",
        },
        "event_id": {**_ID, "description": "Sent again with the same body, it counts once."},
        "event_type": {"type": "string", "pattern": "^[a-z0-9][a-z0-9_.-]{0,63}$"},
        "occurred_at": {
            "type": "string",
            "format": "date-time",
            "description": "With an offset; from 35 days back to 5 minutes ahead.",
        },
        **_ACCOUNT,
        "quantity": {**_NUMBER, "default": 1},
        "dimensions": _DIMENSIONS,
        "cost": {**_NUMBER, "description": "What the vendor charges us."},
        "authorization_id": {
            **_ID,
            "description": "The authorisation that this event captures. One that is unknown or "
            "over changes nothing: what happened is recorded.",
        },
    },
    "example": {
        "source": "core",
        "event_id": "018f6d3e-sms-1",
        "event_type": "otp.sms",
        "occurred_at": "2026-07-15T10:00:00+05:30",
        "alias": "acme",
        "dimensions": {"country": "IN", "channel": "sms", "status": "delivered"},
    },
}

_OUTCOME: Final = {
    "type": "object",
    "properties": {
        "id": {"type": "string"},
        "type": {"const": "event"},
        "attributes": {
            "type": "object",
            "properties": {
                "source": {"type": "string"},
                "event_id": {"type": "string"},
                "status": {"enum": [status.value for status in Status]},
                "accepted_at": {"type": "string", "format": "date-time"},
                "durability": {
                    "enum": [one.value for one in Durability],
                    "description": "`journal`: PostgreSQL is away, and gets it when it is back.",
                },
                "code": {
                    "type": "string",
                    "description": "Why it was not taken. Of an `unavailable` event: `queue_full` "
                    "and `busy`, there was no room for it; `try_again`, it is not known yet.",
                },
                "fields": {"type": "array", "items": {"$ref": "#/components/schemas/FieldProblem"}},
            },
        },
    },
}

_AUTHORIZATION: Final = {
    "type": "object",
    "title": "Authorization",
    "additionalProperties": False,
    "required": ["event_type"],
    "properties": {
        "event_type": {"type": "string"},
        **_ACCOUNT,
        "dimensions": _DIMENSIONS,
        "quantity": {**_NUMBER, "default": 1},
        "hold": {
            "type": "boolean",
            "default": True,
            "description": "Whether a yes holds the money. False: only a question.",
        },
        "authorization_id": {
            "type": "string",
            "pattern": "^[A-Za-z0-9_.-]{1,64}$",
            "description": "Your own id, unique within the account: sent again with the same "
            "body it gives the same answer, or a no, `hold_over`, once its hold has expired or was "
            "released. Without it the `Idempotency-Key` is taken, or one "
            "is made.",
        },
        "ttl_seconds": {
            "type": "integer",
            "minimum": 1,
            "maximum": 86400,
            "description": "How long the hold lasts; five minutes, if nothing is said.",
        },
    },
    "example": {
        "alias": "acme",
        "event_type": "otp.sms",
        "dimensions": {"country": "IN"},
        "authorization_id": "018f6d3e-sms-1",
    },
}

_DECISION: Final = {
    "type": "object",
    "properties": {
        "id": {"type": ["string", "null"]},
        "type": {"const": "authorization"},
        "attributes": {
            "type": "object",
            "properties": {
                "authorised": {"type": "boolean"},
                "reason": {"enum": [reason.value for reason in Reason]},
                "price": {"type": ["string", "null"]},
                "balance": {"type": ["string", "null"]},
                "available": {
                    "type": ["string", "null"],
                    "description": "What may still be authorised: the balance and the credit "
                    "line, less what is held.",
                },
                "currency": {"type": ["string", "null"]},
                "state": {"enum": [*(state.value for state in HoldState), None]},
                "expires_at": {"type": ["string", "null"], "format": "date-time"},
            },
        },
    },
}


def _operation(
    tag: str, name: str, summary: str, text: str, body: dict[str, Any], data: dict[str, Any]
) -> dict[str, Any]:
    def answer(description: str, schema: dict[str, Any]) -> dict[str, Any]:
        return {"description": description, "content": {"application/json": {"schema": schema}}}

    success = {
        "type": "object",
        "properties": {
            "status": {"const": "success"},
            "data": data,
            "meta": {"type": "object"},
        },
    }
    error = {"$ref": "#/components/schemas/ErrorAnswer"}
    return {
        "post": {
            "tags": [tag],
            "summary": summary,
            "description": text,
            "operationId": name,
            "security": [{"ApiKey": []}],
            "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
            "responses": {
                "200": answer("Answered", success),
                "400": answer("Not valid: `fields` says what is wrong where", error),
                "401": answer("No valid API key", error),
                "403": answer("The key may not do this", error),
                "408": answer("The body came too slowly", error),
                "409": answer("The id was sent before with another body", error),
                "413": answer("Too large, also once decompressed", error),
                "415": answer("Another format than those named here, or not gzip", error),
                "429": answer("Too many: `Retry-After` says when to come back", error),
                "503": answer("Not taken, or not known yet: send the same again", error),
            },
        }
    }


def _with_cloud_events(operation: dict[str, Any]) -> dict[str, Any]:
    """The same operation, taking CloudEvents in their three modes as well."""
    post = operation["post"]
    success = post["responses"]["200"]["content"]
    post["parameters"] = PARAMETERS
    post["requestBody"]["content"].update(CONTENTS)
    post["responses"] |= {
        "202": {
            "description": "Taken in, but of some only the journal knows yet",
            "content": success,
        },
        "204": {"description": "CloudEvents: all of them are durable"},
        "207": {
            "description": "A batch of CloudEvents of which some were not taken",
            "content": success,
        },
    }
    return operation


PATHS: Final[dict[str, Any]] = {
    "/api/v1/events": _with_cloud_events(
        _operation(
            "events",
            "events_send",
            "Send usage events",
            'One event, a list, or `{"events": [...]}` with at most 1000 events and 1 MB. Answered '
            "when the events are durable. A batch answers 200 with a status for each event. "
            "CloudEvents 1.0 come structured, as a batch, or binary (`ce-…` headers beside their "
            "data): 204 when all are durable. The body may be compressed with gzip.",
            {
                "oneOf": [
                    _EVENT,
                    {"type": "array", "items": _EVENT, "maxItems": 1000},
                    {
                        "type": "object",
                        "required": ["events"],
                        "properties": {
                            "events": {"type": "array", "items": _EVENT, "maxItems": 1000}
                        },
                    },
                ]
            },
            {"oneOf": [_OUTCOME, {"type": "array", "items": _OUTCOME}]},
        )
    ),
    "/api/v1/authorizations": _operation(
        "authorizations",
        "authorizations_ask",
        "May this be sent?",
        "Whether the account may send this now, and what it would cost. A no is an answer of 200 "
        "and says why. A yes holds the price: an event whose `authorization_id` is the id of the "
        "answer captures it; else it is released, or expires.",
        _AUTHORIZATION,
        _DECISION,
    ),
}


def describe_hot_routes(app: FastAPI) -> None:
    """Add the two routes to what `/openapi.json` says."""
    described = app.openapi

    def openapi() -> dict[str, Any]:
        schema = described()
        schema["paths"] = {**PATHS, **schema["paths"]}
        return schema

    app.openapi = openapi  # type: ignore[method-assign]
