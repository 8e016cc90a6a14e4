"""Charts with one look in both themes: transparent, the theme's colours, money on the axes.

Plotly wants floats to draw with; that is the only thing they are used for. Every number a person
reads is made from the exact amount.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

import pandas as pd  # noqa: F401 - plotly takes what another session has only half imported
import plotly.graph_objects as go
import streamlit as st

from billing.money import from_minor
from console.components.money import compact_money, count, money
from console.components.text import note
from console.components.theme import palette

_TICKS: Final = 5
_MOST_LABELS: Final = 8
_LONGEST_NAME: Final = 24
_FONT: Final = "Source Sans, Source Sans Pro, sans-serif"
_CONFIG: Final = {"displayModeBar": False, "scrollZoom": False, "showAxisDragHandles": False}
CHANNEL_ORDER: Final = ("sms", "whatsapp", "email", "voice")
"""The same channel has the same colour wherever it is drawn."""


def show(figure: go.Figure, *, caption: str, key: str, height: int = 300) -> None:
    """Draw a figure in the theme's look, with its message in words below it.

    Args:
        caption: what the chart shows, also read out in its place.
        height: pixels.
    """
    colours = palette()
    figure.update_layout(
        height=height,
        margin={"l": 8, "r": 8, "t": 8, "b": 8, "pad": 4},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"color": colours.muted, "size": 12, "family": _FONT},
        colorway=list(colours.series),
        hovermode=figure.layout.hovermode or "x unified",
        hoverlabel={"align": "left"},
        legend={
            "orientation": "h",
            "y": 1.02,
            "yanchor": "bottom",
            "x": 0,
            "traceorder": "normal",
            "font": {"color": colours.text},
        },
        dragmode=False,
        bargap=0.28,
    )
    figure.update_xaxes(showgrid=False, title=None, automargin=True, fixedrange=True)
    figure.update_yaxes(
        gridcolor=colours.grid, zerolinecolor=colours.grid, title=None, automargin=True,
        fixedrange=True,
    )  # fmt: skip
    st.plotly_chart(figure, key=key, theme=None, config=_CONFIG, alt=caption)
    note(caption)


def drawn(amount_minor: int, currency_code: str) -> float:
    """An amount as a length on the screen; never to be computed with."""
    return float(from_minor(amount_minor, currency_code))


def money_axis(figure: go.Figure, amounts_minor: Sequence[int], currency_code: str) -> None:
    """Label the value axis in the currency's own grouping, which plotly's formats do not know."""
    top, bottom = max([0, *amounts_minor]), min([0, *amounts_minor])
    step = _nice_step(max(top - bottom, 1))
    first = -(-bottom // step) * step if bottom < 0 else 0
    ticks = range(first - (step if bottom < 0 else 0), top + step + 1, step)
    figure.update_yaxes(
        tickvals=[drawn(tick, currency_code) for tick in ticks],
        ticktext=[compact_money(tick, currency_code) for tick in ticks],
        range=[
            drawn(ticks[0] if bottom < 0 else 0, currency_code),
            drawn(max(top + (top - bottom) // 12, 1), currency_code),
        ],
    )


def _nice_step(span: int) -> int:
    """A step of 1, 2, 2.5 or 5 times a power of ten that makes about five ticks."""
    rough = Decimal(span) / _TICKS
    power = Decimal(10) ** rough.adjusted()
    for factor in (Decimal(1), Decimal(2), Decimal("2.5"), Decimal(5), Decimal(10)):
        if factor * power >= rough:
            return max(int(factor * power), 1)
    raise AssertionError("ten times a number's power of ten is never below it")


def ordered_channels(found: Sequence[str]) -> list[str]:
    """Known channels in their fixed order, then the others by name."""
    known = [channel for channel in CHANNEL_ORDER if channel in found]
    return known + sorted(set(found) - set(known))


def stacked_days(rows: Sequence[tuple[object, str, int]], order: Sequence[str]) -> go.Figure:
    """Daily counts, one colour per name; every name has a value on every day.

    Args:
        rows: day, name, count.
    """
    days = sorted({row[0] for row in rows}, key=str)
    values = {(row[0], row[1]): row[2] for row in rows}
    figure = go.Figure()
    for name in order:
        numbers = [values.get((day, name), 0) for day in days]
        figure.add_bar(
            x=days, y=numbers, name=name, customdata=[count(number) for number in numbers],
            hovertemplate="%{customdata}",
        )  # fmt: skip
    figure.update_layout(barmode="stack")
    figure.update_yaxes(tickformat="~s")
    return figure


def share_bars(names: Sequence[str], numbers: Sequence[int], labels: Sequence[str]) -> go.Figure:
    """Horizontal bars, largest on top, each with its label beside it."""
    figure = go.Figure(
        go.Bar(
            x=list(numbers), y=list(names), orientation="h", text=list(labels),
            textposition="outside", cliponaxis=False, hoverinfo="skip",
            marker={"color": palette().action},
        )
    )  # fmt: skip
    figure.update_layout(hovermode="closest")
    figure.update_yaxes(autorange="reversed", showgrid=False)
    figure.update_xaxes(visible=False, range=[0, max([*numbers, 1]) * 1.25])
    return figure


def money_bars(
    labels: Sequence[str], series: Sequence[tuple[str, Sequence[int]]], currency_code: str
) -> go.Figure:
    """Stacked bars of money over labels.

    Args:
        series: a name, and minor units for each label.
    """
    figure = go.Figure()
    for name, amounts in series:
        figure.add_bar(
            x=list(labels), y=[drawn(amount, currency_code) for amount in amounts], name=name,
            customdata=[money(amount, currency_code) for amount in amounts],
            hovertemplate="%{customdata}",
        )  # fmt: skip
    figure.update_layout(barmode="relative")
    _two_line_labels(figure, labels)
    columns = list(zip(*(amounts for _, amounts in series), strict=True))
    highs = [sum(amount for amount in column if amount > 0) for column in columns]
    lows = [sum(amount for amount in column if amount < 0) for column in columns]
    money_axis(figure, [*highs, *lows], currency_code)
    return figure


def money_lines(
    labels: Sequence[str], series: Sequence[tuple[str, Sequence[int]]], currency_code: str
) -> go.Figure:
    """Lines of money over labels."""
    figure = go.Figure()
    for name, amounts in series:
        figure.add_scatter(
            x=list(labels), y=[drawn(amount, currency_code) for amount in amounts], name=name,
            mode="lines+markers", line={"width": 2.5}, marker={"size": 7},
            customdata=[money(amount, currency_code) for amount in amounts],
            hovertemplate="%{customdata}",
        )  # fmt: skip
    _two_line_labels(figure, labels)
    money_axis(figure, [amount for _, amounts in series for amount in amounts], currency_code)
    return figure


def difference_bars(
    names: Sequence[str], amounts_minor: Sequence[int], currency_code: str
) -> go.Figure:
    """Horizontal bars of money, the first on top, to the left where it is less."""
    colours = palette()
    figure = go.Figure(
        go.Bar(
            x=[drawn(amount, currency_code) for amount in amounts_minor],
            y=[name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME - 1]}…"
               for name in names],
            orientation="h", hoverinfo="skip",
            text=[compact_money(amount, currency_code) for amount in amounts_minor],
            textposition="outside", cliponaxis=False,
            marker={"color": [colours.success if amount > 0 else colours.alert
                              for amount in amounts_minor]},
        )
    )  # fmt: skip
    least, most = min([0, *amounts_minor]), max([0, *amounts_minor])
    room = max(most - least, 1) // 6 + 1
    figure.update_layout(hovermode="closest")
    figure.update_yaxes(autorange="reversed", showgrid=False)
    figure.update_xaxes(
        visible=False,
        range=[drawn(least - room if least else 0, currency_code),
               drawn(most + room if most else 0, currency_code)],
    )  # fmt: skip
    return figure


def _two_line_labels(figure: go.Figure, labels: Sequence[str]) -> None:
    """At most eight labels, each on two lines, so that none has to be turned to fit."""
    step = -(-len(labels) // _MOST_LABELS) or 1
    shown = list(reversed(list(reversed(labels))[::step]))
    figure.update_xaxes(
        type="category", tickangle=0, tickvals=shown,
        ticktext=[label.replace(" ", "<br>") for label in shown],
    )  # fmt: skip


def bridge(
    opening: tuple[str, int], steps: Sequence[tuple[str, int]], closing: tuple[str, int]
) -> go.Figure:
    """A waterfall in paise from an opening amount over signed steps to a closing one."""
    colours = palette()
    amounts = [opening[1], *(amount for _, amount in steps), closing[1]]
    figure = go.Figure(
        go.Waterfall(
            x=[opening[0], *(name for name, _ in steps), closing[0]],
            y=[drawn(amount, "INR") for amount in amounts],
            measure=["absolute", *("relative" for _ in steps), "total"],
            text=[compact_money(amount, "INR") if amount else "" for amount in amounts],
            textposition="outside",
            constraintext="none",
            textfont={"size": 11},
            cliponaxis=False,
            customdata=[money(amount, "INR") for amount in amounts],
            hovertemplate="%{x}: %{customdata}<extra></extra>",
            increasing={"marker": {"color": colours.success}},
            decreasing={"marker": {"color": colours.alert}},
            totals={"marker": {"color": colours.action}},
            connector={"line": {"color": colours.muted, "width": 1, "dash": "dot"}},
        )
    )
    heights = [opening[1]]
    for _, amount in steps:
        heights.append(heights[-1] + amount)
    money_axis(figure, [max(heights) * 11 // 10, min(0, *heights)], "INR")
    figure.update_layout(showlegend=False, hovermode="closest")
    return figure
