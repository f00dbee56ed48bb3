"""What Amazon says of a request reaches who must not see the buyer without the buyer's name, however Amazon spells it."""

from __future__ import annotations

import pytest

from tests.shipping import add_request


@pytest.mark.parametrize(
    ("name", "said", "shown"),
    [
        ("Jürgen Müller", "JÜRGEN MÜLLER is not known", "(removed) (removed) is not known"),
        ("Jürgen Müller", "Jurgen lives with Muller", "(removed) lives with (removed)"),
        ("Ju\u0308rgen Mu\u0308ller", "Jurgen lives with Muller", "(removed) lives with (removed)"),
        ("Ömer Şahin", "OMER SAHIN is not known", "(removed) is not known"),
        ("Łukasz Søby", "Lukasz is not Soby", "(removed) is not (removed)"),
        ("Jean O'Neil", "Neil, J., is not known", "(removed), J., is not known"),
        ("Anne-Marie Dupont", "Marie Dupont is not Anne", "(removed) (removed) is not (removed)"),
        ("山田 太郎", "山田太郎様", "(removed)様"),
        ("Anne Dupont", "annedupont", "(removed)"),
        ("Li Wu", "Li Wu is in the list", "(removed) is in the list"),
        (None, "Nobody is known", "Nobody is known"),
    ],
)
def test_names_are_taken_out_however_they_are_spelt(warehouse, sql, name, said, shown):
    add_request(sql, "FR-1", ("SKU", 1), status="pending")
    sql("UPDATE fba.fulfillment_request SET ship_to_name = %s, status_reason = %s", name, said)
    sql(
        "INSERT INTO fba.feed (store, document_id, claim_id, run_id, message_count) VALUES ('amazon_us', 'D', gen_random_uuid(), 'r', 1)"
    )
    sql(
        "INSERT INTO fba.feed_message (store, document_id, message_id, fr_number, description)"
        " VALUES ('amazon_us', 'D', 1, 'FR-1', %s)",
        said,
    )
    assert sql("SELECT reason FROM fba.request_words").fetchall() == [(shown,)]
    assert sql("SELECT description FROM fba.feed_message_words").fetchall() == [(shown,)]
