"""The control functions for feeds: what was submitted, feeds that hang, and feeds of other programs."""

from collections.abc import Iterable, Mapping
from typing import Any

from sandbox.documents.feed_writer import feed_document
from sandbox.documents.feed_xml import ORDER_FEED, PAYLOADS
from sandbox.world.hangs import UNFINISHED, Hang
from sandbox.world.world_part import WorldPart

_STATUSES = (*UNFINISHED, "DONE", "FATAL", "CANCELLED")


class FeedControls(WorldPart):
    """The part of `World` that tests use to read feeds and to keep them from ending; `World` inherits from it."""

    @property
    def feed_count(self) -> int:
        """Number of feeds created, of all sellers, other programs included."""
        return len(self.feed_desk.feeds)

    def feeds(self, seller_id: str | None = None) -> list[dict[str, Any]]:
        """Return a seller's feeds (None: all), newest first, as getFeed answers, with what Amazon does not show.

        That is `sellerId`, `fate`, `orderIds`, `hangs` (it stays unfinished until it is released) and `foreign`
        (another program submitted it).
        """
        with self.lock:
            self.settle()
            hung = self.feed_desk.hung(seller_id)
            return [
                {
                    **self.feed_desk.shown(feed),
                    "sellerId": feed.merchant.seller_id,
                    "fate": feed.fate_name,
                    "orderIds": list(feed.order_ids),
                    "hangs": feed in hung,
                    "foreign": feed.foreign,
                }
                for feed in self.feed_desk.of_seller(seller_id)
            ]

    def hang_feeds(
        self,
        seller_id: str | None = None,
        feed_type: str | None = None,
        *,
        times: int | None = 1,
        status: str = "IN_PROGRESS",
        blocks: bool = False,
    ) -> None:
        """Make the next `times` feeds (None: all that follow) of a seller and type (None: of any) hang.

        They stay in `status`, IN_QUEUE or IN_PROGRESS, until `release_hung_feeds`. Later feeds of the same seller and
        type pass a hung one; with `blocks` they wait behind it. A fate decides, independently, how it ends afterwards.
        """
        hang = Hang(status, blocks, seller_id, feed_type, times)
        with self.lock:
            if seller_id is not None:
                self.merchant(seller_id)
            self.settle()
            self.feed_desk.hangs.add(hang)

    def release_hung_feeds(self, seller_id: str | None = None, feed_ids: Iterable[str] | None = None) -> list[str]:
        """Let hung feeds go on, of one seller or all, and return their ids, oldest first.

        From now on they take the usual processing time. `feed_ids` releases only these; ValueError if one does not
        hang. Without arguments, no feed to come hangs either.
        """
        with self.lock:
            self.settle()
            hung = self.feed_desk.hung(seller_id)[::-1]
            wanted = None if feed_ids is None else set(feed_ids)
            unknown = (wanted or set()) - {feed.feed_id for feed in hung}
            if unknown:
                raise ValueError(f"no hung feeds: {', '.join(sorted(unknown))}")
            if seller_id is None and wanted is None:
                self.feed_desk.hangs.clear()
            released = [feed for feed in hung if wanted is None or feed.feed_id in wanted]
            for feed in released:
                self.feed_desk.release(feed)
            return [feed.feed_id for feed in released]

    def foreign_feed(
        self,
        seller_id: str,
        marketplace_id: str,
        orders: Mapping[str, Mapping[str, int]] | None = None,
        feed_type: str = ORDER_FEED,
        status: str = "IN_QUEUE",
        *,
        hangs: bool = False,
    ) -> str:
        """Add a feed that another program of the seller submitted, and return its id; no call is counted.

        `orders` is {order id: {sku: units}}; None: a document without messages, which Amazon rejects. A feed IN_QUEUE
        waits for its turn, one IN_PROGRESS is processed beside the queue; with `hangs` it stays so until it is
        released, and others pass it. DONE: its orders are made at once. FATAL and CANCELLED: none is made.
        """
        if feed_type not in PAYLOADS:
            raise ValueError(f"feed type {feed_type!r} is not one of {', '.join(PAYLOADS)}")
        if status not in _STATUSES:
            raise ValueError(f"status {status!r} is not one of {', '.join(_STATUSES)}")
        if hangs and status not in UNFINISHED:
            raise ValueError(f"a feed that is {status} cannot hang")
        wanted = {} if orders is None else orders
        if not isinstance(wanted, Mapping) or not all(isinstance(units, Mapping) for units in wanted.values()):
            raise ValueError("orders must be {order id: {sku: units}}")
        with self.lock:
            self._catalogue(seller_id, marketplace_id)
            content = feed_document(feed_type, seller_id, marketplace_id, wanted)
            merchant = self.merchant(seller_id)
            feed = self.feed_desk.add_foreign(merchant, feed_type, marketplace_id, content, status, hangs=hangs)
            return feed.feed_id
