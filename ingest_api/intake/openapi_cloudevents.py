"""CloudEvents in the API description."""

from typing import Any, Final

_NUMBER: Final = {
    "type": ["number", "string"],
    "description": "At most 6 places and no exponent; read as it is written.",
}

CLOUD_EVENT: Final[dict[str, Any]] = {
    "type": "object",
    "title": "CloudEvent",
    "required": ["specversion", "id", "source", "type", "subject"],
    "properties": {
        "specversion": {"const": "1.0"},
        "id": {"type": "string", "pattern": "^[A-Za-z0-9_.:-]{1,128}$"},
        "source": {
            "type": "string",
            "pattern": "^[A-Za-z0-9_.:/@~+%?=&#-]{1,128}$",
            "description": "Who sends, such as a URI; ids are unique within it.",
        },
        "type": {"type": "string", "pattern": "^[a-z0-9][a-z0-9_.-]{0,63}$"},
        "subject": {"type": "string", "description": "The account: its id, or an alias of it."},
        "time": {
            "type": "string",
            "format": "date-time",
            "description": "When it happened; now, if it is not said.",
        },
        "authorizationid": {
            "type": "string",
            "pattern": "^[A-Za-z0-9_.:-]{1,128}$",
            "description": "The hold that this event captures.",
        },
        "datacontenttype": {"const": "application/json"},
        "data": {
            "type": "object",
            "description": "Members that are not named here are dimensions, unless they are null.",
            "properties": {
                "quantity": {**_NUMBER, "default": 1},
                "value": {**_NUMBER, "description": "Another word for `quantity`."},
                "cost": _NUMBER,
                "dimensions": {"type": "object", "additionalProperties": {"type": "string"}},
            },
            "additionalProperties": {"type": ["string", "number", "boolean", "null"]},
        },
    },
    "example": {
        "specversion": "1.0",
        "id": "018f6d3e-sms-1",
        "source": "https://core.example/otp",
        "type": "otp.sms",
        "time": "2026-07-15T10:00:00+05:30",
        "subject": "acme",
        "data": {"country": "IN", "channel": "sms", "status": "delivered"},
    },
}

CONTENTS: Final[dict[str, Any]] = {
    "application/cloudevents+json": {"schema": CLOUD_EVENT},
    "application/cloudevents-batch+json": {
        "schema": {"type": "array", "items": CLOUD_EVENT, "maxItems": 1000}
    },
}

PARAMETERS: Final = [
    {
        "name": f"ce-{name}",
        "in": "header",
        "required": False,
        "description": "Attribute of a CloudEvent in binary mode; its data is the body, as JSON.",
        "schema": CLOUD_EVENT["properties"][name],
    }
    for name in ("specversion", "id", "source", "type", "subject", "time", "authorizationid")
]
