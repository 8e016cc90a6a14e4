"""The demo's merchants: who they are for GST, what they bought, and how much they send.

All names, addresses and numbers are invented; GSTINs are well formed and belong to nobody.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import Final

from billing.periods import add_months
from billing.tax.gstin import check_character

INDIA: Final = "Asia/Kolkata"


@dataclass(frozen=True, slots=True)
class Place:
    """A postal address; without a State code it is abroad."""

    line: str
    city: str
    postal_code: str
    state_code: str | None
    country: str = "IN"


@dataclass(frozen=True, slots=True)
class DayOf:
    """A day relative to the first of the demo's three complete months (month 0)."""

    month: int
    day: int

    def on(self, first_month: date) -> date:
        """That day, for a demo that begins in `first_month`."""
        return add_months(first_month, self.month) + timedelta(days=self.day - 1)


@dataclass(frozen=True, slots=True)
class WalletPolicy:
    """How a prepaid merchant keeps its wallet filled; amounts in the account's currency."""

    low_balance: Decimal
    top_up: Decimal = Decimal(0)
    """Paid in whenever the balance is below `refill_below`."""
    refill_below: Decimal = Decimal(0)
    month_ends_at: tuple[Decimal, Decimal, Decimal] | None = None
    """Instead: one top-up on the first of each complete month, sized to leave this at its end."""

    @property
    def runs_dry(self) -> bool:
        """Whether the wallet is empty when the current month begins."""
        return self.month_ends_at is not None and self.month_ends_at[-1] < 0


@dataclass(frozen=True, slots=True)
class Traffic:
    """How much a merchant sends, and where to."""

    events_per_day: int
    messages_per_event: tuple[int, int] = (1, 1)
    """A busy sender reports the messages of one route and minute as one event."""
    monthly_growth: float = 1.0
    weekend: float = 1.0
    channels: Mapping[str, int] = field(
        default_factory=lambda: {"sms": 62, "whatsapp": 27, "email": 8, "voice": 3}
    )
    countries: Mapping[str, int] = field(default_factory=lambda: {"IN": 100})


@dataclass(frozen=True, slots=True)
class Merchant:
    """A customer with one account and one subscription."""

    code: str
    name: str
    email: str
    place: Place
    plan: str
    traffic: Traffic
    tax_kind: str = "registered"
    pan: str | None = None
    currency: str = "INR"
    zone: str = INDIA
    wallet: WalletPolicy | None = None
    """Prepaid merchants have one."""
    starts: DayOf = DayOf(0, 1)
    leaves: DayOf | None = None
    upgrade: tuple[DayOf, str] | None = None
    """The day a new plan begins, and which."""

    @property
    def billing_mode(self) -> str:
        """`prepaid` or `postpaid`."""
        return "prepaid" if self.wallet else "postpaid"

    @property
    def alias(self) -> str:
        """The name its usage arrives under."""
        return self.code

    @property
    def gstin(self) -> str | None:
        """Built from State and PAN, with its check character."""
        return gstin_of(self.place.state_code, self.pan) if self.pan else None


def gstin_of(state_code: str | None, pan: str) -> str:
    """The first registration of a PAN holder in a State."""
    body = f"{state_code}{pan}1Z"
    return body + check_character(body)


SUPPLIER_PAN: Final = "AAQCO4172K"
SUPPLIER: Final = Merchant(
    code="supplier",
    name="Passline Authentication Services Private Limited",
    email="billing@passline.example",
    place=Place("4th Floor, Lotus Arcade, 80 Feet Road", "Bengaluru", "560095", "29"),
    plan="",
    traffic=Traffic(0),
    pan=SUPPLIER_PAN,
)
"""The seller itself, registered in Karnataka."""

_ABROAD: Final = {"IN": 93, "AE": 4, "US": 2, "SG": 1}

_POSTPAID: Final = (
    Merchant(
        code="kaveri-retail",
        name="Kaveri Retail Private Limited",
        email="accounts@kaveriretail.example",
        place=Place("27 Residency Road", "Bengaluru", "560025", "29"),
        pan="AAHCK5521M",
        plan="growth",
        traffic=Traffic(190, (4, 24), 1.05, 1.25),
    ),
    Merchant(
        code="deccan-wheels",
        name="Deccan Wheels Mobility Private Limited",
        email="finance@deccanwheels.example",
        place=Place("Plot 18, Madhapur", "Hyderabad", "500081", "36"),
        pan="AAGCD7310R",
        plan="growth",
        upgrade=(DayOf(1, 16), "enterprise"),
        traffic=Traffic(215, (10, 60), 1.18, 1.15),
    ),
    Merchant(
        code="monsoon-pay",
        name="Monsoon Pay Services Private Limited",
        email="ap@monsoonpay.example",
        place=Place("Unit 1204, Lower Parel", "Mumbai", "400013", "27"),
        pan="AAJCM2846Q",
        plan="enterprise",
        traffic=Traffic(330, (20, 130), 1.03, 0.7, countries=_ABROAD),
    ),
    Merchant(
        code="indus-parcel",
        name="Indus Parcel Logistics Private Limited",
        email="payables@indusparcel.example",
        place=Place("7 Ashram Road", "Ahmedabad", "380009", "24"),
        pan="AAFCI9034L",
        plan="enterprise",
        traffic=Traffic(255, (10, 70), 1.02, 0.55),
    ),
    Merchant(
        code="harbour-ledger",
        name="Harbour Ledger Systems Private Limited",
        email="tax@harbourledger.example",
        place=Place("Block C, Special Economic Zone, Kakkanad", "Kochi", "682037", "32"),
        tax_kind="sez_unit",
        pan="AAECH6178P",
        plan="growth",
        traffic=Traffic(130, (3, 20), 1.04, 0.4, countries={"IN": 70, "AE": 18, "US": 12}),
    ),
    Merchant(
        code="rock-garden",
        name="Rock Garden Clinics LLP",
        email="office@rockgardenclinics.example",
        place=Place("SCO 88, Sector 17", "Chandigarh", "160017", "04"),
        pan="AARFR3390D",
        plan="growth",
        traffic=Traffic(105, (2, 14), 1.0, 0.6),
    ),
    Merchant(
        code="tulsi-learning",
        name="Tulsi Learning Private Limited",
        email="accounts@tulsilearning.example",
        place=Place("Baner Road", "Pune", "411045", "27"),
        pan="AAKCT4427H",
        plan="growth",
        starts=DayOf(1, 10),
        traffic=Traffic(140, (3, 16), 1.22, 1.3),
    ),
    Merchant(
        code="bluefin-travels",
        name="Bluefin Travels Private Limited",
        email="books@bluefintravels.example",
        place=Place("18th June Road, Panaji", "Goa", "403001", "30"),
        pan="AADCB8815E",
        plan="growth",
        leaves=DayOf(2, 21),
        traffic=Traffic(100, (2, 12), 0.82, 1.5, countries=_ABROAD),
    ),
    Merchant(
        code="larkspur-health",
        name="Larkspur Health Inc.",
        email="ap@larkspurhealth.example",
        place=Place("1100 Congress Avenue", "Austin", "78701", None, "US"),
        tax_kind="overseas",
        currency="USD",
        zone="America/New_York",
        plan="global-usd",
        traffic=Traffic(155, (4, 30), 1.06, 0.8, countries={"US": 88, "GB": 9, "IN": 3}),
    ),
)

_PREPAID: Final = (
    Merchant(
        code="chandni-bazaar",
        name="Chandni Bazaar Online Private Limited",
        email="hello@chandnibazaar.example",
        place=Place("41 Asaf Ali Road", "New Delhi", "110002", "07"),
        pan="AACCC1953N",
        plan="starter",
        wallet=WalletPolicy(Decimal(3000), Decimal(25000), Decimal(6000)),
        traffic=Traffic(150, (1, 12), 1.04, 1.3, countries={"IN": 96, "AE": 4}),
    ),
    Merchant(
        code="malabar-credit",
        name="Malabar Mutual Credit Private Limited",
        email="treasury@malabarcredit.example",
        place=Place("Anna Salai", "Chennai", "600002", "33"),
        pan="AALCM7702F",
        plan="starter",
        wallet=WalletPolicy(Decimal(5000), Decimal(40000), Decimal(12000)),
        traffic=Traffic(170, (1, 16), 1.02, 0.5),
    ),
    Merchant(
        code="asha-tiffins",
        name="Asha Tiffins (proprietor A. Selvi)",
        email="asha@ashatiffins.example",
        place=Place("9 West Masi Street", "Madurai", "625001", "33"),
        tax_kind="unregistered",
        plan="starter",
        wallet=WalletPolicy(Decimal(500), Decimal(4000), Decimal(1500)),
        traffic=Traffic(50, (1, 3), 1.0, 1.2),
    ),
    Merchant(
        code="peepal-games",
        name="Peepal Games Private Limited",
        email="ops@peepalgames.example",
        place=Place("Tower B, Sector 44", "Gurugram", "122003", "06"),
        pan="AAMCP5068J",
        plan="starter",
        wallet=WalletPolicy(
            Decimal(1500), month_ends_at=(Decimal(2600), Decimal(2200), Decimal(-25))
        ),
        traffic=Traffic(105, (1, 8), 1.1, 1.6),
    ),
    Merchant(
        code="saffron-stays",
        name="Saffron Stays Hospitality Private Limited",
        email="finance@saffronstays.example",
        place=Place("C-Scheme, Ashok Nagar", "Jaipur", "302001", "08"),
        pan="AANCS2214G",
        plan="starter",
        wallet=WalletPolicy(
            Decimal(6000), month_ends_at=(Decimal(9500), Decimal(8000), Decimal(4200))
        ),
        traffic=Traffic(80, (1, 8), 1.03, 1.4, countries={"IN": 92, "AE": 5, "SG": 3}),
    ),
    Merchant(
        code="kirim-cepat",
        name="PT Kirim Cepat Nusantara",
        email="keuangan@kirimcepat.example",
        place=Place("Jalan Sudirman 52", "Jakarta", "12190", None, "ID"),
        tax_kind="overseas",
        currency="IDR",
        zone="Asia/Jakarta",
        plan="nusantara-idr",
        wallet=WalletPolicy(Decimal(1200000), Decimal(9000000), Decimal(2500000)),
        traffic=Traffic(125, (1, 6), 1.05, 0.9, countries={"ID": 95, "SG": 5}),
    ),
)

MERCHANTS: Final = _POSTPAID + _PREPAID


def merchant(code: str) -> Merchant:
    """The merchant of that code.

    Raises:
        StopIteration: if the demo has none.
    """
    return next(found for found in MERCHANTS if found.code == code)
