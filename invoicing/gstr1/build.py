"""The return as the portal's JSON: pure, from facts alone.

Keys, tables and routing follow the GSTN API v4.0; tables that hold nothing are left out.
Amounts are rupees with two decimals, always sums of what the documents say and never computed
from a rate again.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import date
from decimal import Decimal
from itertools import groupby
from typing import Any, Final

from billing.money import from_minor, plain
from billing.tax import rules
from billing.tax.numbering import follows
from invoicing.gstr1.advances import Advances, follow
from invoicing.gstr1.facts import (
    Amounts,
    Issued,
    Line,
    Lot,
    Paper,
    PaperKind,
    ReturnFacts,
    supplies,
    table_of,
)

Json = dict[str, Any]

VERSION: Final = "GST3.2.2"
"""Of the offline tool whose files the portal takes."""
HSN_SPLIT_FROM: Final = date(2025, 5, 1)
"""From this month on table 12 has a part for registered recipients and one for the others."""
_NOTE_LETTERS = {PaperKind.CREDIT_NOTE: "C", PaperKind.DEBIT_NOTE: "D"}


def portal_return(facts: ReturnFacts, advances: Advances | None = None) -> Json:
    """The whole return of a registration and month."""
    advances = advances or follow(facts.lots, facts.draws)
    by_table: dict[str, list[Paper]] = {}
    for paper in sorted(facts.papers, key=lambda one: (one.number, one.kind)):
        if any(not line.nil_rated for line in paper.lines):
            by_table.setdefault(table_of(paper)[0], []).append(paper)
    tables: Json = {
        "b2b": _by_customer(by_table.get("b2b", []), "inv", _invoice_of_b2b),
        "b2cl": _large(by_table.get("b2cl", [])),
        "exp": _exports(by_table.get("exp", [])),
        "b2cs": _small(by_table.get("b2cs", [])),
        "nil": _nil(facts.papers),
        "cdnr": _by_customer(by_table.get("cdnr", []), "nt", _note_of_cdnr),
        "cdnur": [_note_of_cdnur(paper) for paper in by_table.get("cdnur", [])],
        "at": _advance_rows(advances.received(facts.month)),
        "txpd": _advance_rows(advances.adjusted(facts.month)),
        "hsn": _hsn(facts),
        "doc_issue": _documents_issued(facts.issued),
    }
    head = {
        "gstin": facts.gstin,
        "fp": f"{facts.month:%m%Y}",
        "version": VERSION,
        "hash": "hash",
    }
    return head | {name: table for name, table in tables.items() if table}


def _rupees(paise: int) -> Decimal:
    return from_minor(paise, "INR")


def _day(day: date) -> str:
    return f"{day:%d-%m-%Y}"


def _heads(amounts: Amounts) -> Json:
    return {
        "iamt": _rupees(amounts.igst),
        "camt": _rupees(amounts.cgst),
        "samt": _rupees(amounts.sgst),
        "csamt": _rupees(0),
    }


def _igst_only(amounts: Amounts) -> Json:
    return {"iamt": _rupees(amounts.igst), "csamt": _rupees(0)}


def _by_rate(lines: Iterable[Line]) -> list[tuple[Decimal, Amounts]]:
    sums: dict[Decimal, Amounts] = {}
    for line in lines:
        if not line.nil_rated:
            rate = plain(line.rate)
            sums[rate] = sums.get(rate, Amounts()) + line.amounts
    return sorted(sums.items())


def _items(paper: Paper, heads: Callable[[Amounts], Json] = _heads) -> list[Json]:
    return [
        {
            "num": place,
            "itm_det": {"rt": rate, "txval": _rupees(amounts.taxable)} | heads(amounts),
        }
        for place, (rate, amounts) in enumerate(_by_rate(paper.lines), start=1)
    ]


def _invoice(paper: Paper) -> Json:
    return {"inum": paper.number, "idt": _day(paper.issue_date), "val": _rupees(paper.value)}


def _note(paper: Paper) -> Json:
    return {
        "ntty": _NOTE_LETTERS[paper.kind],
        "nt_num": paper.number,
        "nt_dt": _day(paper.issue_date),
        "val": _rupees(paper.value),
        "pos": paper.pos,
    }


def _invoice_of_b2b(paper: Paper) -> Json:
    return _invoice(paper) | {
        "pos": paper.pos,
        "rchrg": "N",
        "inv_typ": table_of(paper)[1],
        "itms": _items(paper),
    }


def _note_of_cdnr(paper: Paper) -> Json:
    return _note(paper) | {"rchrg": "N", "inv_typ": table_of(paper)[1], "itms": _items(paper)}


def _note_of_cdnur(paper: Paper) -> Json:
    return {"typ": table_of(paper)[1]} | _note(paper) | {"itms": _items(paper, _igst_only)}


def _by_customer(papers: Sequence[Paper], key: str, entry: Callable[[Paper], Json]) -> list[Json]:
    ordered = sorted(papers, key=lambda paper: paper.ctin or "")
    return [
        {"ctin": ctin, key: [entry(paper) for paper in group]}
        for ctin, group in groupby(ordered, key=lambda paper: paper.ctin or "")
    ]


def _large(papers: Sequence[Paper]) -> list[Json]:
    ordered = sorted(papers, key=lambda paper: paper.pos)
    return [
        {
            "pos": pos,
            "inv": [_invoice(paper) | {"itms": _items(paper, _igst_only)} for paper in group],
        }
        for pos, group in groupby(ordered, key=lambda paper: paper.pos)
    ]


def _exports(papers: Sequence[Paper]) -> list[Json]:
    ordered = sorted(papers, key=lambda paper: table_of(paper)[1])
    return [
        {"exp_typ": kind, "inv": [_export(paper) for paper in group]}
        for kind, group in groupby(ordered, key=lambda paper: table_of(paper)[1])
    ]


def _export(paper: Paper) -> Json:
    """Services have no shipping bill."""
    return _invoice(paper) | {
        "itms": [
            {"rt": rate, "txval": _rupees(amounts.taxable)} | _igst_only(amounts)
            for rate, amounts in _by_rate(paper.lines)
        ]
    }


def _small(papers: Sequence[Paper]) -> list[Json]:
    """Summed by place and rate, less the notes; a month of notes alone is negative."""
    sums: dict[tuple[bool, str, Decimal], Amounts] = {}
    for paper, line in supplies(papers):
        key = (paper.is_inter, paper.pos, plain(line.rate))
        sums[key] = sums.get(key, Amounts()) + line.amounts.times(paper.kind.sign)
    return [
        {
            "sply_ty": _supply_type(is_inter),
            "typ": "OE",
            "pos": pos,
            "rt": rate,
            "txval": _rupees(amounts.taxable),
        }
        | _heads(amounts)
        for (is_inter, pos, rate), amounts in sorted(sums.items())
        if amounts
    ]


def _supply_type(is_inter: bool) -> str:
    return "INTER" if is_inter else "INTRA"


def _nil(papers: Sequence[Paper]) -> Json:
    sums: dict[str, int] = {}
    for paper in papers:
        recipient = "B2B" if paper.ctin else "B2C"
        kind = f"{'INTR' if paper.is_inter else 'INTRA'}{recipient}"
        value = sum(line.amounts.taxable for line in paper.lines if line.nil_rated)
        sums[kind] = sums.get(kind, 0) + value * paper.kind.sign
    rows = [
        {
            "sply_ty": kind,
            "expt_amt": _rupees(0),
            "nil_amt": _rupees(value),
            "ngsup_amt": _rupees(0),
        }
        for kind, value in sorted(sums.items())
        if value
    ]
    return {"inv": rows} if rows else {}


def _advance_rows(found: Sequence[tuple[Lot, Amounts]]) -> list[Json]:
    sums: dict[tuple[str, bool], dict[Decimal, Amounts]] = {}
    for lot, amounts in found:
        rates = sums.setdefault((lot.pos, lot.is_inter), {})
        rate = plain(lot.rate)
        rates[rate] = rates.get(rate, Amounts()) + amounts
    rows = [
        {
            "pos": pos,
            "sply_ty": _supply_type(is_inter),
            "itms": [
                {"rt": rate, "ad_amt": _rupees(amounts.taxable)} | _heads(amounts)
                for rate, amounts in sorted(rates.items())
                if amounts
            ],
        }
        for (pos, is_inter), rates in sorted(sums.items())
    ]
    return [row for row in rows if row["itms"]]


def _hsn(facts: ReturnFacts) -> Json:
    """Table 12: by SAC and rate, less the notes. Advances are no supplies and are not in it."""
    sums: dict[bool, dict[tuple[str, Decimal], Amounts]] = {True: {}, False: {}}
    split = facts.month >= HSN_SPLIT_FROM
    for paper in facts.papers:
        part = sums[paper.ctin is not None or not split]
        for line in paper.lines:
            key = (line.sac, plain(line.rate))
            part[key] = part.get(key, Amounts()) + line.amounts.times(paper.kind.sign)
    if not split:
        rows = _hsn_rows(sums[True])
        return {"data": rows} if rows else {}
    parts = {"hsn_b2b": _hsn_rows(sums[True]), "hsn_b2c": _hsn_rows(sums[False])}
    return {name: rows for name, rows in parts.items() if rows}


def _hsn_rows(sums: dict[tuple[str, Decimal], Amounts]) -> list[Json]:
    found = [(key, amounts) for key, amounts in sorted(sums.items()) if amounts]
    return [
        {
            "num": place,
            "hsn_sc": sac,
            "desc": rules.sac_description(sac),
            "uqc": "NA",
            "qty": Decimal(0),
            "rt": rate,
            "txval": _rupees(amounts.taxable),
        }
        | _heads(amounts)
        for place, ((sac, rate), amounts) in enumerate(found, start=1)
    ]


def _documents_issued(issued: Sequence[Issued]) -> Json:
    """Table 13: unbroken ranges of every series, and how many of their numbers are cancelled."""
    natures = sorted({one.nature for one in issued})
    return (
        {
            "doc_det": [
                {
                    "doc_num": nature,
                    "docs": [
                        _range(place, run)
                        for place, run in enumerate(
                            _runs([one for one in issued if one.nature == nature]), start=1
                        )
                    ],
                }
                for nature in natures
            ]
        }
        if natures
        else {}
    )


def _runs(issued: Sequence[Issued]) -> list[list[Issued]]:
    runs: list[list[Issued]] = []
    for one in sorted(issued, key=lambda found: (len(found.number), found.number)):
        if runs and follows(runs[-1][-1].number, one.number):
            runs[-1].append(one)
        else:
            runs.append([one])
    return runs


def _range(place: int, run: Sequence[Issued]) -> Json:
    cancelled = sum(one.is_cancelled for one in run)
    return {
        "num": place,
        "from": run[0].number,
        "to": run[-1].number,
        "totnum": len(run),
        "cancel": cancelled,
        "net_issue": len(run) - cancelled,
    }
