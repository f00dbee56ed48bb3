"""Which parcel is which: by Amazon's ids, else by numbers, which several parcels may share."""

from __future__ import annotations

import pytest

from fba_operators.shipments.parcels import Parcel, keyed, merged, tracking_number


def parcel(package_id, number, status="IN_TRANSIT", *, shipment="S", amazon=None, **items):
    return Parcel(
        package_id,
        shipment if package_id else None,
        tracking_number=number,
        amazon_tracking_number=amazon,
        status=status,
        items=items,
    )


@pytest.mark.parametrize("text", ["N/A", "none", "-", "--", "0", "000 000", "", None, "UNKNOWN"])
def test_what_stands_for_no_number_is_none(text):
    assert tracking_number(text) is None
    assert not keyed([parcel("1", text)], {"K": parcel("2", text)}).keys() & {"K"}


def test_parcels_with_ids_of_their_own_are_not_one():
    told = [parcel("1", "1Z1", "DELIVERED", a=1), parcel("2", "1Z1", "UNDELIVERABLE", a=1)]
    assert merged(told) == told
    assert keyed(told, {}) == {"1Z1": told[0], "2": told[1]}


@pytest.mark.parametrize("status", ["UNDELIVERABLE", "EXPIRED", "DELAYED", "IN_TRANSIT", "PROCESSING", None])
@pytest.mark.parametrize("first", [True, False])
def test_of_parcels_that_cannot_be_told_apart_the_one_that_needs_somebody_stands(status, first):
    delivered = parcel(None, "1Z1", "DELIVERED", a=1)
    for other in (parcel(None, "1Z1", status, a=2), parcel("1", "1Z1", status, a=2)):
        (one,) = merged([delivered, other] if first else [other, delivered])
        assert (one.status, one.items) == (status, {"a": 3})


def test_what_is_told_twice_counts_once_and_as_the_one_that_needs_somebody():
    (one,) = merged([parcel("1", "1Z1", "DELIVERED", a=2), parcel("1", "1Z1", "UNDELIVERABLE", a=2)])
    assert (one.status, one.items) == ("UNDELIVERABLE", {"a": 2})


def test_an_id_goes_before_a_number():
    known = {"1Z1": parcel("1", "1Z1"), "1Z2": parcel("2", "1Z2")}
    told = [parcel("2", "1Z1", "UNDELIVERABLE"), parcel("1", "1Z1", "DELIVERED")]
    assert keyed(told, known) == {"1Z2": told[0], "1Z1": told[1]}


def test_without_a_known_id_the_numbers_find_each_row_once():
    known = {"A": parcel("1", "1Z1"), "B": parcel("2", "1Z1"), "C": parcel("3", "1Z3", amazon="A3")}
    told = [parcel("7", "1z 1"), parcel("8", "1Z1"), parcel("9", "other", amazon="a3"), parcel("10", "1Z1")]
    assert keyed(told, known) == {"A": told[0], "B": told[1], "C": told[2], "1Z1": told[3]}
