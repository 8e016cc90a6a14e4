"""Names of the countries that messages go to; others are shown by their code."""

from typing import Final

_NAMES: Final = {
    "AE": "United Arab Emirates", "AU": "Australia", "BD": "Bangladesh", "BR": "Brazil",
    "CA": "Canada", "DE": "Germany", "EG": "Egypt", "ES": "Spain", "FR": "France",
    "GB": "United Kingdom", "ID": "Indonesia", "IN": "India", "IT": "Italy", "JP": "Japan",
    "KE": "Kenya", "LK": "Sri Lanka", "MX": "Mexico", "MY": "Malaysia", "NG": "Nigeria",
    "NL": "Netherlands", "NP": "Nepal", "PH": "Philippines", "PK": "Pakistan", "QA": "Qatar",
    "SA": "Saudi Arabia", "SG": "Singapore", "TH": "Thailand", "TR": "Türkiye",
    "US": "United States", "VN": "Vietnam", "ZA": "South Africa", "unknown": "Unknown",
}  # fmt: skip


def country_name(code: str) -> str:
    """The English name of an ISO 3166 country, or its code."""
    return _NAMES.get(code, code)
