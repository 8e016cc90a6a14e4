"""Requests made from an OpenAPI document by a seeded generator: right ones, and wrong ones.

A request is drawn from the schema of its operation, then some of its parts are replaced by values
that break programs. Ids that answers showed are used again, so that requests reach rows that exist.
"""

import gzip
import json
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final
from urllib.parse import quote
from uuid import UUID

from tests.support.odd_values import BODIES, CONTENT_TYPES, JSON, RAW_VALUES, STRINGS, from_pattern

_METHODS: Final = ("get", "post", "put", "patch", "delete")


@dataclass(frozen=True)
class Request:
    """What is sent."""

    operation: str
    method: str
    target: str
    headers: list[tuple[bytes, bytes]]
    content: bytes


class _Raw:
    """A place in a body where raw JSON is put."""

    def __init__(self, value: bytes) -> None:
        self.value = value


@dataclass
class Pool:
    """Values that answers showed, by the name of a field or a type."""

    known: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    hidden: set[str] = field(default_factory=set)
    """Ids that are never used: what is done to them would end the run."""

    def learn(self, answer: Any) -> None:
        """Remember the ids, codes and names in an answer."""
        for name, value in _leaves(answer):
            if isinstance(value, str) and 0 < len(value) < 100 and value not in self.hidden:
                kept = self.known[name]
                if len(kept) < 50:
                    kept.append(value)

    def draw(self, random: Random, name: str) -> str | None:
        """A value that a parameter or field of that name may have."""
        for key in (name, name.removesuffix("_id") + ":id", name.rpartition("_")[2]):
            if self.known.get(key):
                return random.choice(self.known[key])
        ids = [value for key, found in self.known.items() if key.endswith(":id") for value in found]
        return random.choice(ids) if name.endswith("_id") and ids else None


def _leaves(node: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(node, dict):
        if "id" in node and isinstance(node.get("type"), str):
            yield f"{node['type']}:id", node["id"]
        for key, value in node.items():
            if key not in {"id", "type"}:
                yield from _leaves(value, key)
    elif isinstance(node, list):
        for value in node[:5]:
            yield from _leaves(value, name)
    else:
        yield name, node


class Requests:
    """Draws requests.

    Args:
        document: the OpenAPI document.
        seed: the same seed and answers give the same requests.
        pool: values to use again.
    """

    def __init__(self, document: dict[str, Any], seed: int, pool: Pool) -> None:
        self._random = Random(seed)
        self._components = document.get("components", {}).get("schemas", {})
        self._pool = pool
        self._operations = [
            (path, method, operation)
            for path, operations in document["paths"].items()
            for method, operation in operations.items()
            if method in _METHODS
        ]
        self._round: list[tuple[str, str, dict[str, Any]]] = []

    def __iter__(self) -> Iterator[Request]:
        """Requests without end; every operation comes once before one comes again."""
        while True:
            if not self._round:
                self._round = self._random.sample(self._operations, len(self._operations))
            yield self._request(*self._round.pop())

    def _request(self, path: str, method: str, operation: dict[str, Any]) -> Request:
        random = self._random
        target, query, headers = path, [], []
        for parameter in operation.get("parameters", []):
            name, where = parameter["name"], parameter["in"]
            if where != "path" and random.random() < (0.5 if where == "query" else 0.8):
                continue
            value = self._parameter(name, parameter.get("schema", {}))
            if where == "path":
                target = target.replace(f"{{{name}}}", _quoted(value) or "%00")
            elif where == "query":
                query.append(f"{name}={_quoted(value)}")
            else:
                headers.append((name.lower().encode(), _quoted(value).encode()))
        content = b""
        if "requestBody" in operation:
            content_type, content = self._body(operation["requestBody"]["content"])
            headers.append((b"content-type", content_type.encode("latin-1")))
            if random.random() < 0.03:
                headers.append((b"content-encoding", random.choice([b"gzip", b"br", b"identity"])))
                if random.random() < 0.7:
                    content = gzip.compress(content, 1)[: random.choice([None, None, 15])]
        if query:
            target += "?" + "&".join(query)
        return Request(f"{method.upper()} {path}", method.upper(), target, headers, content)

    def _parameter(self, name: str, schema: dict[str, Any]) -> str:
        random = self._random
        if random.random() < 0.15:
            return random.choice(STRINGS)
        known = self._pool.draw(random, name)
        if known is not None and random.random() < 0.7:
            return known
        drawn = self._value(schema, name, 0)
        return drawn if isinstance(drawn, str) else _dump(drawn).decode("utf-8", "replace")

    def _body(self, contents: dict[str, Any]) -> tuple[str, bytes]:
        random = self._random
        content_type = random.choice(list(contents))
        if random.random() < 0.04:
            return random.choice([content_type, JSON]), random.choice(BODIES)
        media = contents[content_type]
        examples = _examples(media, self._resolve(media["schema"]))
        if examples and random.random() < 0.5:
            value = json.loads(json.dumps(random.choice(examples)))
            value = self._refreshed(value)
        else:
            value = self._value(media["schema"], "", 0)
        for _ in range(random.choice([0, 0, 0, 1, 1, 2, 4])):
            value = self._broken(value)
        content = _dump(value)
        if random.random() < 0.02:
            content = content[: random.randrange(len(content) + 1)]
        if random.random() < 0.02:
            content_type = random.choice(CONTENT_TYPES)
        return content_type, content

    def _refreshed(self, node: Any, name: str = "") -> Any:
        """An example with ids and codes that exist, so that it can be right here."""
        if isinstance(node, dict):
            return {key: self._refreshed(value, key) for key, value in node.items()}
        if isinstance(node, list):
            return [self._refreshed(value, name) for value in node]
        if isinstance(node, str) and self._random.random() < 0.6:
            return self._pool.draw(self._random, name) or node
        return node

    def _broken(self, value: Any) -> Any:
        """The value with one of its parts replaced, left out, added or doubled."""
        random = self._random
        places = list(_places(value))
        if not places:
            return self._wrong()
        holder, key = random.choice(places)
        act = random.random()
        if act < 0.7:
            holder[key] = self._wrong()
        elif act < 0.85:
            del holder[key]
        elif isinstance(holder, dict):
            holder[random.choice(STRINGS)] = self._wrong()
        else:
            holder.extend(holder[:] * random.choice([1, 30]))
        return value

    def _wrong(self) -> Any:
        random = self._random
        return random.choice(STRINGS) if random.random() < 0.5 else _Raw(random.choice(RAW_VALUES))

    def _resolve(self, schema: dict[str, Any]) -> dict[str, Any]:
        while "$ref" in schema:
            schema = self._components[schema["$ref"].rpartition("/")[2]]
        return schema

    def _value(self, schema: dict[str, Any], name: str, depth: int) -> Any:
        schema = self._resolve(schema)
        for choice in ("anyOf", "oneOf", "allOf"):
            if choice in schema:
                return self._value(self._random.choice(schema[choice]), name, depth)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return self._random.choice(schema["enum"])
        kind = schema.get("type", "string")
        if isinstance(kind, list):
            kind = self._random.choice(kind)
        if kind == "object":
            return self._object(schema, depth)
        if kind == "array":
            return self._array(schema, name, depth)
        return self._scalar(kind, schema, name)

    def _scalar(self, kind: str, schema: dict[str, Any], name: str) -> Any:
        if kind in {"integer", "number"}:
            return self._number(schema)
        if kind == "boolean":
            return self._random.random() < 0.5
        return None if kind == "null" else self._text(schema, name)

    def _array(self, schema: dict[str, Any], name: str, depth: int) -> list[Any]:
        most = min(schema.get("maxItems", 3), 3) if depth < 4 else 0
        least = min(schema.get("minItems", 0), 3)
        count = self._random.randint(least, max(most, least))
        return [self._value(schema.get("items", {}), name, depth + 1) for _ in range(count)]

    def _object(self, schema: dict[str, Any], depth: int) -> dict[str, Any]:
        random = self._random
        required = set(schema.get("required", ()))
        drawn = {
            key: self._value(part, key, depth + 1)
            for key, part in schema.get("properties", {}).items()
            if key in required or (depth < 5 and random.random() < 0.6)
        }
        more = schema.get("additionalProperties")
        if isinstance(more, dict) and depth < 5:
            for key in random.sample(["country", "channel", "status", "x"], random.randint(0, 2)):
                drawn[key] = self._value(more, key, depth + 1)
        return drawn

    def _number(self, schema: dict[str, Any]) -> int:
        least = int(schema.get("minimum", schema.get("exclusiveMinimum", -10)))
        most = int(schema.get("maximum", schema.get("exclusiveMaximum", least + 1000)))
        edges = [least, most, min(least + 1, most), max(most - 1, least)]
        return self._random.choice([*edges, self._random.randint(least, max(most, least))])

    def _formatted(self, wanted: str | None) -> str | None:
        random = self._random
        drawn = {
            "uuid": str(UUID(int=random.getrandbits(128), version=4)),
            "date": f"{random.choice([2025, 2026, 2027])}-{random.randint(1, 12):02}-01",
            "date-time": f"2026-{random.randint(1, 12):02}-01T10:00:00+05:30",
            "decimal": random.choice(["1", "0", "0.000001", "123.45", "999999999999"]),
        }
        return drawn.get(wanted or "")

    def _text(self, schema: dict[str, Any], name: str) -> str:
        random = self._random
        known = self._pool.draw(random, name)
        if known is not None and random.random() < 0.6:
            return known
        formatted = self._formatted(schema.get("format"))
        if formatted is not None:
            return formatted
        if "pattern" in schema:
            drawn = from_pattern(random, schema["pattern"])
            if len(drawn) <= schema.get("maxLength", 10_000):
                return drawn
        length = random.randint(schema.get("minLength", 0), min(schema.get("maxLength", 12), 40))
        return "".join(random.choice("abcdeé 1-") for _ in range(length))


def _examples(media: dict[str, Any], schema: dict[str, Any]) -> list[Any]:
    found = [one["value"] for one in media.get("examples", {}).values() if "value" in one]
    found += schema.get("examples", [])
    for part in (media, schema, *schema.get("oneOf", [])):
        if isinstance(part, dict) and "example" in part:
            found.append(part["example"])
    return found


def _places(node: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield node, key
            yield from _places(value)
    elif isinstance(node, list):
        for index, value in enumerate(node[:10]):
            yield node, index
            yield from _places(value)


def _quoted(value: str) -> str:
    return quote(value, safe="", errors="replace")


_MARK: Final = re.compile(rb'"@raw:(\d+)@"')


def _dump(value: Any) -> bytes:
    """JSON, with raw parts where they were put; surrogates as escapes."""
    raws: list[bytes] = []

    def mark(node: Any) -> str:
        raws.append(node.value)
        return f"@raw:{len(raws) - 1}@"

    text = json.dumps(value, default=mark).encode()
    return _MARK.sub(lambda found: raws[int(found.group(1))], text)
