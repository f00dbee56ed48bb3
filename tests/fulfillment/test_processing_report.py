"""Processing reports: what is read from Amazon's XML, and the verdict on each message."""

from __future__ import annotations

from xml.sax.saxutils import escape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fba_operators.fulfillment.processing_report import (
    ProcessingReport,
    ReportError,
    Result,
    Verdict,
    judge_messages,
    parse_processing_report,
)
from tests.hostile import HOSTILE, SECRET_PARTS
from tests.stores import SELLER

# --- reading


def report_xml(body: str, message_type: str = "ProcessingReport", prologue: str = "") -> bytes:
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>{prologue}<AmazonEnvelope xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
        ' xsi:noNamespaceSchemaLocation="amzn-envelope.xsd"><Header><DocumentVersion>1.02</DocumentVersion>'
        f"<MerchantIdentifier>{SELLER}</MerchantIdentifier></Header><MessageType>{message_type}</MessageType><Message>"
        f"<MessageID>1</MessageID><ProcessingReport>{body}</ProcessingReport></Message></AmazonEnvelope>"
    ).encode()


def summary(processed=3, successful=1, with_error=2, with_warning=0) -> str:
    counts = {"Processed": processed, "Successful": successful, "WithError": with_error, "WithWarning": with_warning}
    inner = "".join(f"<Messages{name}>{count}</Messages{name}>" for name, count in counts.items())
    return f"<ProcessingSummary>{inner}</ProcessingSummary>"


def result(message_id=2, kind="Error", code="25", description="No such SKU", extra="") -> str:
    return (
        f"<Result><MessageID>{message_id}</MessageID><ResultCode>{kind}</ResultCode><ResultMessageCode>{code}"
        f"</ResultMessageCode><ResultDescription>{description}</ResultDescription>{extra}</Result>"
    )


STATUS = "<DocumentTransactionID>53935018605</DocumentTransactionID><StatusCode>Complete</StatusCode>"


def test_a_report_is_read_in_full():
    extra = "<AdditionalInfo><SKU>SKU-BLUE-L</SKU></AdditionalInfo>"
    body = STATUS + summary() + result(extra=extra) + result(0, code="", description="bad &amp; <!-- x -->worse")
    found = parse_processing_report(report_xml(body + result(3, "Warning", "7", "")))
    assert found == ProcessingReport(
        "Complete",
        *(3, 1, 2, 0),
        (Result(2, True, "25", "No such SKU"), Result(0, True, "", "bad & worse"), Result(3, False, "7", "")),
    )


def test_a_hostile_description_is_short_and_without_what_it_repeats():
    told = escape(HOSTILE.replace("\x1b", "")) * 30
    body = STATUS + summary() + "".join(result(2, code=told, description=f"{n} {told}") for n in range(50))
    verdict = judge_messages(parse_processing_report(report_xml(body)), [1, 2, 3])[2]
    assert verdict.outcome == "rejected"
    assert "Invalid request" in verdict.description
    assert len(verdict.code) <= 60
    assert len(verdict.description) <= 1000
    assert [part for part in SECRET_PARTS if part in f"{verdict.code} {verdict.description}"] == []


def test_a_report_may_lack_its_summary_and_results():
    found = parse_processing_report(report_xml("<StatusCode>Processing</StatusCode>"))
    assert found == ProcessingReport("Processing", None, None, None, None, ())


GOOD_REPORT = report_xml(STATUS + summary() + result() + result(3))


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (b"", "not well-formed"),
        (b"feed processing summary:\n\tNumber of records processed\t1", "not well-formed XML"),
        (b"\x1f\x8b\x08\x00compressed", "not well-formed"),
        (GOOD_REPORT[:-20], r"not well-formed XML \(line 1\)"),
        (b"<html/>", "not a processing report"),
        (report_xml(STATUS, message_type="Product"), "not a processing report"),
        (report_xml(STATUS).replace(b"<ProcessingReport>", b"<R>").replace(b"</ProcessingReport>", b"</R>"), "holds 0"),
        (report_xml(STATUS + "</ProcessingReport><ProcessingReport>"), "holds 2 processing reports"),
        (report_xml(STATUS + summary() + summary()), "more than one summary"),
        (report_xml(STATUS + "<StatusCode>Rejected</StatusCode>"), "StatusCode twice"),
        (report_xml(STATUS + summary(processed="three")), "MessagesProcessed of the processing report is not a number"),
        (report_xml(STATUS + summary(successful=-1)), "MessagesSuccessful of the processing report is not a number"),
        (
            report_xml(STATUS + summary(with_error="<b>1</b>")),
            "MessagesWithError of the processing report is not a text",
        ),
        (report_xml(STATUS + summary() + result("")), "lacks a MessageID"),
        (report_xml(STATUS + summary() + result("x")), "MessageID of the processing report is not a number"),
        (report_xml(STATUS + summary() + result(kind="Fatal")), "neither Error nor Warning"),
        (report_xml(STATUS, prologue="<!DOCTYPE AmazonEnvelope>"), "document type declaration"),
        (
            report_xml(STATUS + "&e;", prologue='<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]>'),
            "document type",
        ),
        (b"<a>" * 300 + b"</a>" * 300, "not well-formed XML"),
    ],
)
def test_a_malformed_report_is_an_error(document, message):
    with pytest.raises(ReportError, match=message):
        parse_processing_report(document)


def test_entities_are_not_expanded(tmp_path):
    (tmp_path / "secret").write_text("Complete")
    levels = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 10))
    for prologue, entity in (
        (f'<!DOCTYPE a [<!ENTITY e0 "ha">{levels}]>', "&e9;"),
        (f'<!DOCTYPE a [<!ENTITY x SYSTEM "file://{tmp_path}/secret">]>', "&x;"),
        (f'<!DOCTYPE a SYSTEM "file://{tmp_path}/secret">', ""),
        ('<!DOCTYPE a SYSTEM "http://127.0.0.1:9/none.dtd">', ""),
    ):
        with pytest.raises(ReportError):
            parse_processing_report(report_xml(f"<StatusCode>{entity}</StatusCode>", prologue=prologue))


def mutated(document: bytes):
    """A report with some bytes cut out, put in or changed."""
    edit = st.tuples(st.integers(0, len(document)), st.integers(0, 30), st.binary(max_size=8))

    def apply(edits: list[tuple[int, int, bytes]]) -> bytes:
        changed = document
        for start, length, put in edits:
            changed = changed[:start] + put + changed[start + length :]
        return changed

    return st.lists(edit, min_size=1, max_size=4).map(apply)


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=300) | mutated(GOOD_REPORT))
def test_any_bytes_are_a_report_or_the_declared_error(document):
    try:
        found = parse_processing_report(document)
    except ReportError:
        return  # anything else that is raised fails the test
    assert set(judge_messages(found, [1, 2, 3])) == {1, 2, 3}


# --- judging

E, W = True, False


def report(results, processed=3, successful=3, with_error=0, status="Complete") -> ProcessingReport:
    found = tuple(Result(message_id, is_error, "c", f"text {message_id}") for message_id, is_error in results)
    return ProcessingReport(status, processed, successful, with_error, 0, found)


@pytest.mark.parametrize(
    ("found", "outcomes"),
    [
        # the counts agree
        (report([]), "AAA"),
        (report([(2, E)], successful=2, with_error=1), "ARA"),
        (report([(1, E), (2, E), (3, E)], successful=0, with_error=3), "RRR"),
        (report([(2, E), (2, E)], successful=2, with_error=1), "ARA"),
        (report([(2, W), (3, W)]), "AAA"),
        (report([(2, W), (2, E)], successful=2, with_error=1), "ARA"),
        # they do not
        (report([], status="Processing"), "UUU"),
        (report([], status="Rejected"), "UUU"),
        (report([], status=""), "UUU"),
        (report([(2, E)], successful=2, with_error=1, status="Rejected"), "URU"),
        (report([], processed=2, successful=2), "UUU"),
        (report([], processed=4, successful=4), "UUU"),
        (report([], processed=0, successful=0), "UUU"),
        (report([], successful=2), "UUU"),
        (report([], successful=2, with_error=1), "UUU"),
        (report([(2, E)]), "URU"),
        (report([(2, E)], successful=1, with_error=2), "URU"),
        (report([(2, E), (3, E)], successful=2, with_error=1), "URR"),
        (report([(2, E), (9, E)], successful=1, with_error=2), "URU"),
        (report([(9, E)], successful=2, with_error=1), "UUU"),
        (report([(2, W)], successful=2), "UUU"),
        (ProcessingReport("Complete", None, None, None, None, ()), "UUU"),
        (ProcessingReport("Complete", 3, 3, None, None, ()), "UUU"),
        (ProcessingReport("Complete", 3, None, 0, None, ()), "UUU"),
        # an Error for the complete document
        (report([(0, E)], successful=0, with_error=3), "RRR"),
        (report([(0, E)], processed=0, successful=0), "RRR"),
        (report([(0, E)], processed=1, successful=0, with_error=1, status="Rejected"), "RRR"),
        (report([(0, E), (2, E)], successful=1, with_error=2), "URU"),
        (report([(0, E)], successful=3, status="Rejected"), "UUU"),
        (report([(0, E)]), "UUU"),
        (report([(0, E), (2, E)], successful=2, with_error=1), "URU"),
        (ProcessingReport("Complete", None, None, None, None, (Result(0, E, "c", "d"),)), "UUU"),
        # a Warning for it is no failure
        (report([(0, W)]), "AAA"),
        (report([(0, W)], processed=0, successful=0), "UUU"),
    ],
)
def test_verdicts_on_three_messages(found, outcomes):
    verdicts = judge_messages(found, [1, 2, 3])
    assert "".join(verdicts[n].outcome[0].upper() for n in (1, 2, 3)) == outcomes
    for verdict in verdicts.values():
        assert (verdict.code is not None) == (verdict.outcome == "rejected")
        assert (verdict.description is not None) == (verdict.outcome != "accepted")


def test_a_verdict_carries_codes_texts_and_warnings():
    found = ProcessingReport(
        "Complete", 3, 2, 1, 1,
        (
            Result(2, E, "25", "No such SKU"),
            Result(2, E, "26", "No stock"),
            Result(2, E, "25", "No such SKU"),
            Result(2, W, "7", "Odd address"),
            Result(1, W, "", "Late"),
            Result(1, W, "8", "Later"),
        ),
    )  # fmt: skip
    verdicts = judge_messages(found, [1, 2, 3])
    assert (verdicts[2].outcome, verdicts[2].code) == ("rejected", "25")
    assert verdicts[2].description == "25: No such SKU; 26: No stock"
    assert verdicts[2].warnings == ("7: Odd address",)
    assert (verdicts[1].outcome, verdicts[1].warnings) == ("accepted", ("Late", "8: Later"))
    assert verdicts[3] == Verdict("accepted")


def test_rejection_of_the_complete_feed_keeps_the_reason_of_a_message_that_has_its_own():
    found = ProcessingReport("Complete", 2, 0, 2, 0, (Result(0, E, "5000", "Ill-formed"), Result(2, E, "25", "No SKU")))
    verdicts = judge_messages(found, [1, 2])
    assert {n: (v.outcome, v.code) for n, v in verdicts.items()} == {1: ("rejected", "5000"), 2: ("rejected", "25")}


def test_an_unknown_verdict_has_a_reason():
    verdicts = judge_messages(report([], processed=2, successful=2), [1, 2, 3])
    assert verdicts[1].description == "the processing report counts 2 messages where 3 were sent"


@given(
    st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=6),
    st.integers(0, 5),
    st.integers(0, 5),
    st.integers(0, 5),
)
def test_nothing_is_accepted_unless_the_numbers_add_up(results, processed, successful, with_error):
    verdicts = judge_messages(report(results, processed, successful, with_error), [1, 2, 3, 4])
    errors = {message_id for message_id, is_error in results if is_error}
    accepted = {n for n, verdict in verdicts.items() if verdict.outcome == "accepted"}
    assert not accepted & errors
    if accepted:
        assert processed == 4
        assert len(accepted) == successful
        assert len(errors - {0}) == with_error == 4 - successful
    assert {n for n in errors if n in verdicts} <= {n for n, v in verdicts.items() if v.outcome == "rejected"}
