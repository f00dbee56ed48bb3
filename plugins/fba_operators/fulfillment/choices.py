"""What a person may decide about a request, in words: what it will do, what cannot be undone, or why it cannot be decided now."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

IN_FLIGHT = ("sending", "submitted", "unknown")


@dataclass(frozen=True)
class Deciding:
    """A request as a person sees it before deciding.

    :param stuck: no run finds out what became of it
    :param speed: Amazon's speed in the quote that was chosen, with its fee and currency; None: no quote, or no fee named
    :param has_address: retention has not removed it yet
    :param twin: FR number of the request or copy that goes out instead of it, or None; and its status
    :param needs: codes of ``fba.needs_attention`` for which a person has only to look; when somebody has, they end
    :param order_status: Amazon's status of its order, as Amazon spells it
    :param digest: of everything that the decision is about; another one means that something has changed
    """

    store: str
    fr_number: str
    status: str
    stuck: bool
    cancel_requested_at: datetime | None
    approved_at: datetime | None
    approval_asked_at: datetime | None
    speed: str | None
    fee: Decimal | None
    currency: str | None
    has_address: bool
    twin: str | None
    twin_status: str | None
    needs: list[str]
    order_status: str | None
    digest: str

    @property
    def is_now(self) -> str:
        """Its state in a few words."""
        words = "unknown, and only a person can decide it" if self.stuck and self.status == "unknown" else self.status
        if self.stuck and self.status != "unknown":
            words += ", and no feed or order carries it"
        if self.status == "pending" and self.approved_at:
            words += ", approved"
        elif self.status == "pending" and self.approval_asked_at:
            words += ", and needs approval"
        return words + (", to be cancelled" if self.cancel_requested_at and self.status not in ("cancelled",) else "")


@dataclass(frozen=True)
class Choice:
    """One thing that a person may decide.

    :param action: its name in an address
    :param label: the words on its button
    :param says: what it will do
    :param warning: what cannot be undone; empty where it can
    :param refusal: why it cannot be decided now; empty where it can
    """

    action: str
    label: str
    says: str = ""
    warning: str = ""
    refusal: str = ""


def _approve(r: Deciding) -> dict[str, str]:
    if r.status != "pending":
        return _no(f"It is {r.status}: only a pending request is approved.")
    if r.cancel_requested_at:
        return _no("Its cancellation was requested.")
    if r.approved_at:
        return _no(f"It was approved already, on {_day(r.approved_at)}.")
    if not r.approval_asked_at:
        return _no("No run has asked for an approval of it.")
    fee = "for a fee that is not known" if r.fee is None else f"for a fee of {r.fee} {r.currency or ''}".rstrip()
    return {
        "says": f"It is sent to Amazon when it is due, {r.speed or 'at a speed that is not chosen yet'}, {fee}. "
        + ("" if r.fee is None else "A higher fee asks again; so does editing the request."),
        "warning": "Once it is sent, it can only be cancelled at Amazon, and Amazon may refuse.",
    }


def _pending(r: Deciding) -> dict[str, str]:
    if r.status not in ("invalid", "rejected"):
        return _no(f"It is {r.status}: only an invalid or rejected request is set back to pending.")
    if r.twin and r.twin_status != "invalid":
        return _no(f"{r.twin} goes out instead of it: the buyer would get two parcels.")
    if not r.has_address:
        return _no("Its address was removed with its age (retention): insert a new request instead.")
    return {
        "says": "It begins anew under its own number: runs check it again, and send it to Amazon when it is due. "
        "What is still wrong makes it invalid again, so put it right first." + _taken_back(r),
        "warning": "Once it is sent, it can only be cancelled at Amazon, and Amazon may refuse.",
    }


def _cancel(r: Deciding) -> dict[str, str]:
    if r.cancel_requested_at and r.status != "cancelled":
        return _no(f"Its cancellation was requested already, on {_day(r.cancel_requested_at)}.")
    if r.status == "pending":
        return {"says": "It is not sent any more: the next run of fba_send_fulfillment_requests makes it invalid."}
    if r.status not in (*IN_FLIGHT, "accepted"):
        return _no(f"It is {r.status}: there is nothing to cancel.")
    if (r.order_status or "").casefold() in ("complete", "completepartialled"):
        return _no("Amazon has shipped it already: there is nothing left to cancel.")
    return {
        "says": "Every run of fba_send_fulfillment_requests asks Amazon to cancel its order, for three days. Amazon may refuse, "
        "for example because the order is being packed; then it goes on, and is told as not cancelled.",
        "warning": "An order that Amazon has cancelled is final. It can only be sent again under a new number.",
    }


def _resend(r: Deciding) -> dict[str, str]:
    if r.status not in ("cancelled", "rejected"):
        return _no(f"It is {r.status}: only a cancelled or rejected request is sent again under a new number.")
    if r.twin:
        return _no(f"It was sent again already: {r.twin} goes out instead of it.")
    if not r.has_address:
        return _no("Its address was removed with its age (retention): insert a new request instead.")
    return {
        "says": "A copy of it with a new number becomes pending, and is sent to Amazon when it is due.",
        "warning": "A parcel under the old number that is on its way after all is not stopped: then the buyer gets two.",
    }


def _acknowledge(r: Deciding) -> dict[str, str]:
    if not r.needs:
        return _no("Nothing about it waits for somebody who only has to look.")
    codes = " and ".join(code.replace("_", " ") for code in r.needs)
    return {
        "says": f"It is not told any more that this request is {codes}. Nothing else changes: nothing is sent, cancelled or refunded. "
        "What happens to it from now on is told again."
    }


def _decide(decided: str) -> Callable[[Deciding], dict[str, str]]:
    def words(r: Deciding) -> dict[str, str]:
        if r.status not in IN_FLIGHT:
            return _no(f"It is {r.status}: there is nothing to find out.")
        if not r.stuck:
            looking = "the runs still look for its order" if r.status == "unknown" else "it is on its way to Amazon"
            return _no(f"It is {r.status}, and {looking}.")
        if r.status == "sending" and decided != "pending":
            return _no("It was not handed to Amazon: it can only become pending.")
        return DECIDED[decided](r)

    return words


DECIDED: dict[str, Callable[[Deciding], dict[str, str]]] = {
    "pending": lambda r: {
        "says": "It is sent to Amazon under its own number when it is due, after one more look whether Amazon has it."
        + _taken_back(r),
        "warning": "If Amazon makes an order of the earlier attempt after all, the buyer gets two parcels. Look for its number "
        "in Seller Central first. This cannot be taken back once it is sent.",
    },
    "accepted": lambda r: {
        "says": "It counts as an order of Amazon's: no run looks for it any more, and its parcels are waited for.",
        "warning": "If Amazon has no order of it, nobody ships it. Look for its number in Seller Central first. This cannot be "
        "taken back.",
    },
    "rejected": lambda r: {
        "says": "It counts as an order that Amazon does not have. You can then set it back to pending, or send it again "
        "under a new number.",
        "warning": "If Amazon has an order of it after all, that is shipped all the same, and if it is sent again the buyer "
        "gets two parcels. Look for its number in Seller Central first.",
    },
}


def _no(reason: str) -> dict[str, str]:
    return {"refusal": reason}


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _taken_back(r: Deciding) -> str:
    return " Its cancellation is taken back." if r.cancel_requested_at else ""


_ACTIONS: dict[str, tuple[str, Callable[[Deciding], dict[str, str]]]] = {
    "approve": ("Approve", _approve),
    "pending": ("Set back to pending", _pending),
    "cancel": ("Cancel", _cancel),
    "resend": ("Send again under a new number", _resend),
    "acknowledge": ("Seen: take it from the list", _acknowledge),
    "decide-pending": ("Amazon does not have it: send it", _decide("pending")),
    "decide-accepted": ("Amazon has it: set to accepted", _decide("accepted")),
    "decide-rejected": ("Amazon does not ship it: set to rejected", _decide("rejected")),
}
ACTIONS = tuple(_ACTIONS)


def choice(request: Deciding, action: str) -> Choice:
    """Return one choice.

    :param action: one of ``ACTIONS``
    :raises KeyError: there is no such action
    """
    label, words = _ACTIONS[action]
    return Choice(action, label, **words(request))


def choices(request: Deciding) -> list[Choice]:
    """Return every choice, those that are refused at present included."""
    return [choice(request, action) for action in ACTIONS]
