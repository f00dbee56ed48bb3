"""Requests that go out one by one."""

from __future__ import annotations

from airflow.sdk import Context

from fba_operators.fulfillment.outbound import send_orders
from fba_operators.operators.fulfillment import ClaimedOperator
from fba_operators.operators.links import DeskLink


class SendOrdersOperator(ClaimedOperator):
    """Send the claimed requests order by order, each once; skipped where a feed carries them.

    The answer to each is Amazon's at once: accepted or rejected. One that got no answer is unknown, and later runs look for it.

    :return: how many requests came to each status
    :raises CredentialsError: Amazon denies access; what was not sent is pending again
    :raises RequestRefusedError: Amazon refuses for a reason that is not the order's; what was not sent is pending again
    """

    operator_extra_links = (DeskLink("requests"),)

    def work(self, context: Context) -> dict[str, int]:
        """Compare with Amazon, then send each order."""
        if self.orders.carries(self.claim_id) != "orders":
            self.skip()
        with self.ledger.exclusively(), self.summarised(context) as outcome:
            send_orders(self.hook, self.orders, self.settings, self.claim_id, outcome)
        self.add_to_summary(context, "", outcome="success")
        self.publish(context, outcome.moved)
        return {status: number for status, number in outcome.moved.items() if number}
