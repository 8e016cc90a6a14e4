"""What `docs/pricing.md` says that a price comes to is what the preview answers."""

import json
import re
from pathlib import Path

from billing.catalog.tables import PriceModel
from tests.support.api import Api
from tests.support.bodies import SMS_ITEM, create_items

PAGE = Path(__file__).parents[3] / "docs" / "pricing.md"


def test_every_model_has_an_example_that_is_true(api: Api) -> None:
    create_items(api)
    for code, kind in (("seat", "licence"), ("setup", "one_time")):
        body = {"code": code, "name": code, "kind": kind, "unit": code, "sac": "998315"}
        api.post("/billable-items", body)
    for code, read in (
        ("sms-segments", {"aggregation": "sum", "conversion": "sms_segments"}),
        ("users", {"aggregation": "unique", "property_name": "user"}),
    ):
        api.post("/billable-items", SMS_ITEM | read | {"code": code})
    blocks = re.findall(r"```json\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    written = [json.loads(block) for block in blocks]
    examples = list(zip(written[::2], written[1::2], strict=True))
    for request, expected in examples:
        found = api.post("/pricing/preview", request)["attributes"]
        assert {name: found[name] for name in expected} == expected
    shown = {request["charge"]["price_model"] for request, _ in examples}
    assert shown == {model.value for model in PriceModel}
