"""Amazon's processing report of a feed: reading it, and deciding what became of each message."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from lxml import etree

from fba_operators.fulfillment.feed_xml import safe_parser
from fba_operators.words import MOST_OF_A_NAME, cut, words

MOST_TOLD = 1000  # characters about one message, however many results it has


class ReportError(ValueError):
    """A processing report cannot be read, so nothing is known about the feed's messages."""


@dataclass(frozen=True)
class Result:
    """One line of a processing report, in Amazon's words; ``message_id`` 0 stands for the document."""

    message_id: int
    is_error: bool
    code: str
    description: str


@dataclass(frozen=True)
class ProcessingReport:
    """Amazon's result of a feed; a count is None where the report has no summary."""

    status_code: str
    processed: int | None
    successful: int | None
    with_error: int | None
    with_warning: int | None
    results: tuple[Result, ...]


@dataclass(frozen=True)
class Verdict:
    """The result of one message; ``unknown`` must be looked up at Amazon before anything is sent again."""

    outcome: Literal["accepted", "rejected", "unknown"]
    code: str | None = None
    description: str | None = None
    warnings: tuple[str, ...] = ()


def parse_processing_report(document: bytes) -> ProcessingReport:
    """Read a feed's result document.

    :param document: the XML, not compressed
    :raises ReportError: it is no processing report that can be understood in full; the message quotes nothing of it
    """
    try:
        root = etree.fromstring(document, safe_parser())
    except (etree.LxmlError, ValueError) as error:
        line = f" (line {error.lineno})" if isinstance(error, etree.XMLSyntaxError) and error.lineno else ""
        raise ReportError(f"the processing report is not well-formed XML{line}") from None
    docinfo: Any = root.getroottree().docinfo
    if docinfo.doctype:
        raise ReportError("the processing report has a document type declaration, which Amazon's reports do not have")
    if root.tag != "AmazonEnvelope" or _text(root, "MessageType") != "ProcessingReport":
        raise ReportError("the result document is XML, but not a processing report")
    reports = root.findall("Message/ProcessingReport")
    if len(reports) != 1:
        raise ReportError(f"the result document holds {len(reports)} processing reports instead of one")
    report = reports[0]
    if len(report.findall("ProcessingSummary")) > 1:
        raise ReportError("the processing report holds more than one summary")
    summary = report.find("ProcessingSummary")
    processed, successful, with_error, with_warning = (
        None if summary is None else _count(summary, f"Messages{name}")
        for name in ("Processed", "Successful", "WithError", "WithWarning")
    )
    results = tuple(_result(element) for element in report.findall("Result"))
    return ProcessingReport(_text(report, "StatusCode"), processed, successful, with_error, with_warning, results)


def _result(element: etree._Element) -> Result:
    message_id = _count(element, "MessageID")
    kind = _text(element, "ResultCode")
    if message_id is None or kind not in ("Error", "Warning"):
        raise ReportError("a result of the processing report lacks a MessageID or is neither Error nor Warning")
    code, description = (_text(element, f"Result{name}") for name in ("MessageCode", "Description"))
    return Result(message_id, kind == "Error", words(code, MOST_OF_A_NAME), words(description))


def _text(parent: etree._Element, tag: str) -> str:
    found = parent.findall(tag)
    if len(found) > 1:
        raise ReportError(f"the processing report has {tag} twice in one place")
    if found and len(found[0]):
        raise ReportError(f"{tag} of the processing report is not a text")
    return (found[0].text or "").strip() if found else ""


def _count(parent: etree._Element, tag: str) -> int | None:
    text = _text(parent, tag)
    if text and not re.fullmatch(r"[0-9]{1,20}", text):
        raise ReportError(f"{tag} of the processing report is not a number")
    return int(text) if text else None


def judge_messages(report: ProcessingReport, sent: Iterable[int]) -> dict[int, Verdict]:
    """Decide what became of each message of a feed.

    A message with an Error is rejected; so are all when the document (MessageID 0) has an Error and no message was
    successful. The others are accepted if the counts add up, and else unknown.

    :param sent: the MessageIDs of the feed
    """
    sent = list(sent)
    of_document = [result for result in report.results if result.message_id == 0 and result.is_error]
    doubt = _does_not_add_up(report, sent)
    own: dict[int, list[Result]] = {message_id: [] for message_id in sent}
    for result in report.results:
        if result.message_id in own:
            own[result.message_id].append(result)
    verdicts = {}
    for message_id, results in own.items():
        warnings = tuple(_sentence([result]) for result in results if not result.is_error)
        errors = [result for result in results if result.is_error]
        if not errors and of_document and report.successful == 0:
            errors = of_document
        if errors:
            verdicts[message_id] = Verdict("rejected", errors[0].code, _sentence(errors), warnings)
        elif doubt:
            verdicts[message_id] = Verdict("unknown", description=doubt, warnings=warnings)
        else:
            verdicts[message_id] = Verdict("accepted", warnings=warnings)
    return verdicts


def _sentence(results: list[Result]) -> str:
    told = dict.fromkeys(f"{result.code}: {result.description}".strip(": ") for result in results)
    return cut("; ".join(told), MOST_TOLD)


def _does_not_add_up(report: ProcessingReport, sent: list[int]) -> str | None:
    """Why messages without a result cannot be taken for successful, or None."""
    failed = {result.message_id for result in report.results if result.is_error and result.message_id >= 1}
    if report.status_code != "Complete":
        return f"the processing report's StatusCode is not Complete but {words(report.status_code, MOST_OF_A_NAME)!a}"
    if report.processed is None or report.successful is None or report.with_error is None:
        return "the processing report has no complete summary"
    if report.processed != len(sent):
        return f"the processing report counts {report.processed} messages where {len(sent)} were sent"
    if report.successful + report.with_error != report.processed:
        return (
            f"the processing report counts {report.successful} successful and {report.with_error} with an error "
            f"of {report.processed} messages"
        )
    if report.with_error != len(failed):
        return f"the processing report counts {report.with_error} messages with an error and names {len(failed)}"
    if not failed <= set(sent):
        return "the processing report names messages that were not sent"
    if report.successful and any(result.message_id == 0 and result.is_error for result in report.results):
        return (
            f"the processing report has an error of the whole feed and counts {report.successful} successful messages"
        )
    return None
