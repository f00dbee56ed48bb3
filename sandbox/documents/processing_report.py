"""Writes a feed's processing report: the XML document with the result of each message."""

from dataclasses import dataclass

from lxml import etree


@dataclass(frozen=True, slots=True)
class Result:
    """One Result element, about a message (id 0: the whole document); `code` is Error or Warning."""

    message_id: int
    code: str
    message_code: str
    text: str
    sku: str | None = None


def processing_report(seller_id: str, feed_id: str, processed: int, results: list[Result]) -> bytes:
    """Return a ProcessingReport as XML; `processed` is its number of messages processed.

    Messages without an error or a warning have no Result element.
    """
    errors = {result.message_id for result in results if result.code == "Error"}
    warnings = {result.message_id for result in results if result.code == "Warning"}
    refused = len(errors - {0})
    envelope = etree.Element("AmazonEnvelope")
    header = etree.SubElement(envelope, "Header")
    _add(header, "DocumentVersion", "1.02")
    _add(header, "MerchantIdentifier", seller_id)
    _add(envelope, "MessageType", "ProcessingReport")
    message = etree.SubElement(envelope, "Message")
    _add(message, "MessageID", "1")
    report = etree.SubElement(message, "ProcessingReport")
    _add(report, "DocumentTransactionID", feed_id)
    _add(report, "StatusCode", "Complete")
    summary = etree.SubElement(report, "ProcessingSummary")
    _add(summary, "MessagesProcessed", str(processed))
    _add(summary, "MessagesSuccessful", str(max(0, processed - refused)))
    _add(summary, "MessagesWithError", str(len(errors) if processed == 0 else refused))
    _add(summary, "MessagesWithWarning", str(len(warnings)))
    for result in results:
        line = etree.SubElement(report, "Result")
        _add(line, "MessageID", str(result.message_id))
        _add(line, "ResultCode", result.code)
        _add(line, "ResultMessageCode", result.message_code)
        _add(line, "ResultDescription", result.text)
        if result.sku:
            _add(etree.SubElement(line, "AdditionalInfo"), "SKU", result.sku)
    return etree.tostring(envelope, encoding="UTF-8", xml_declaration=True, pretty_print=True)


def _add(parent: etree._Element, tag: str, text: str) -> None:
    etree.SubElement(parent, tag).text = text
