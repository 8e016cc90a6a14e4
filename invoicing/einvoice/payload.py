"""From a document to INV-01: rupees with two decimals, positive also on credit notes.

Services have neither dispatch nor shipping blocks. A price of more than three decimals does not
fit the portal's unit price, so each line is one unit of its own value; what was counted stands in
its description.
"""

import json
import re
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Final

from billing.money import from_minor, plain
from billing.tax.compute import inr_minor
from billing.tax.einvoice import DocumentType
from billing.tax.irn import CODES
from billing.tax.model import SupplyKind, TaxHead
from billing.tax.rules import FOREIGN_STATE
from invoicing import document as doc

Json = dict[str, Any]

_FIELD_OF: Final = {
    TaxHead.IGST: "IgstAmt",
    TaxHead.CGST: "CgstAmt",
    TaxHead.SGST: "SgstAmt",
    TaxHead.UTGST: "SgstAmt",
}
_PIN_ABROAD: Final = 999_999
_UNKNOWN_PLACE: Final = "Not stated"


def payload_of(paper: doc.InvoiceDocument, supply_type: str) -> Json:
    """The INV-01 payload of an issued document; amounts are `Decimal`.

    Args:
        supply_type: `B2B`, `SEZWP`, `SEZWOP`, `EXPWP` or `EXPWOP`, as the tax decision says.
    """
    items = [_item(line, paper) for line in paper.lines]
    found: Json = {
        "Version": "1.1",
        "TranDtls": {"TaxSch": "GST", "SupTyp": supply_type, "RegRev": "N"},
        "DocDtls": {
            "Typ": CODES[paper.document_type],
            "No": paper.number or "",
            "Dt": _day(paper.issue_date or paper.period_end),
        },
        "SellerDtls": {
            "Gstin": paper.supplier.gstin,
            "LglNm": _text(paper.supplier.legal_name, 100),
            **_place(paper.supplier.address),
        },
        "BuyerDtls": _buyer(paper),
        "ItemList": items,
        "ValDtls": _values(paper, items),
        "RefDtls": _references(paper),
    }
    if paper.supply is SupplyKind.SEZ or paper.supply is SupplyKind.DOMESTIC:
        return found
    with_refund = "Y" if supply_type == "EXPWP" else "N"
    country = paper.recipient.address.country_code
    return found | {
        "ExpDtls": {"RefClm": with_refund, "ForCur": paper.currency, "CntCode": country}
    }


def wire_json(stored: Json) -> str:
    """The payload as it is sent: amounts as exact numbers, keys in one order."""

    def written(value: object) -> str:
        if isinstance(value, dict):
            parts = (f"{json.dumps(key)}:{written(one)}" for key, one in value.items())
            return f"{{{','.join(parts)}}}"
        if isinstance(value, list):
            return f"[{','.join(written(one) for one in value)}]"
        return f"{value:f}" if isinstance(value, Decimal) else json.dumps(value)

    return written(stored)


def _buyer(paper: doc.InvoiceDocument) -> Json:
    recipient = paper.recipient
    abroad = recipient.kind is doc.RecipientKind.OVERSEAS
    return {
        "Gstin": "URP" if abroad else recipient.tax_number or "",
        "LglNm": _text(recipient.legal_name, 100),
        "Pos": FOREIGN_STATE if abroad else paper.place_of_supply_code,
        **_place(recipient.address),
    }


def _place(address: doc.Address) -> Json:
    abroad = address.country_code != "IN"
    digits = re.sub(r"\D", "", address.postal_code)
    return {
        "Addr1": _text(", ".join(address.lines) or address.city, 100) or _UNKNOWN_PLACE,
        "Loc": _text(address.city or address.state_name or address.country_name, 50).ljust(3, "."),
        "Pin": _PIN_ABROAD if abroad else int(digits or 0),
        "Stcd": FOREIGN_STATE if abroad else address.state_code or "",
    }


def _item(line: doc.DocumentLine, paper: doc.InvoiceDocument) -> Json:
    gross, discount = (_rupees(amount, paper) for amount in (line.gross_minor, line.discount_minor))
    # Two roundings into rupees may differ by a paisa; the value is what was declared.
    value = _rupees(line.taxable_minor, paper)
    item: Json = {
        "SlNo": str(line.ordinal),
        "PrdDesc": _text(f"{line.description} ({plain(line.quantity)} {line.unit})", 300),
        "IsServc": "Y",
        "HsnCd": line.sac,
        "Qty": 1,
        "Unit": "OTH",
        "UnitPrice": value + discount,
        "TotAmt": value + discount,
        "AssAmt": value,
        "GstRt": plain(sum((tax.rate for tax in line.taxes), Decimal(0))),
    }
    if discount and gross:
        item["Discount"] = discount
    total = value
    for tax in line.taxes:
        amount = _rupees(tax.tax_minor, paper)
        item[_FIELD_OF[tax.head]] = amount
        total += amount
    return item | {"TotItemVal": total}


def _values(paper: doc.InvoiceDocument, items: list[Json]) -> Json:
    def summed(name: str) -> Decimal:
        return sum((item.get(name, Decimal(0)) for item in items), Decimal(0))

    found: Json = {"AssVal": summed("AssAmt")}
    for head in ("Igst", "Cgst", "Sgst"):
        if any(f"{head}Amt" in item for item in items):
            found[f"{head}Val"] = summed(f"{head}Amt")
    if paper.round_off_minor:
        found["RndOffAmt"] = _rupees(paper.round_off_minor, paper)
    found["TotInvVal"] = sum(found.values(), Decimal(0))
    if paper.currency != "INR":
        found["TotInvValFc"] = from_minor(paper.total_minor, paper.currency)
    return found


def _references(paper: doc.InvoiceDocument) -> Json:
    found: Json = {
        "DocPerdDtls": {
            "InvStDt": _day(paper.period_start),
            "InvEndDt": _day(paper.period_end - timedelta(days=1)),
        }
    }
    if paper.references and paper.document_type is not DocumentType.INVOICE:
        found["PrecDocDtls"] = [
            {"InvNo": one.number, "InvDt": _day(one.issue_date)} for one in paper.references
        ]
    vouchers = [one for one in paper.advances if one.number]
    if vouchers:
        found["ContrDtls"] = [
            {"RecAdvRefr": one.number, "RecAdvDt": _day(one.day)} for one in vouchers
        ]
    return found


def _rupees(amount_minor: int, paper: doc.InvoiceDocument) -> Decimal:
    if paper.fx is not None:
        amount_minor = inr_minor(amount_minor, paper.currency, paper.fx.inr_per_unit)
    return from_minor(amount_minor, "INR")


def _day(day: date) -> str:
    return f"{day:%d/%m/%Y}"


def _text(value: str, most: int) -> str:
    """Without what the portal refuses: quotation marks, backslashes, control characters."""
    cleaned = re.sub(r"[\"\\\x00-\x1f]", " ", value)
    return " ".join(cleaned.split())[:most].strip()
