"""Notifications: who is notified about a run is in stores.yaml, delivery is Apprise's."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from fba_operators.runs.summary import StoreSummary, message
from fba_operators.settings.models import Notification

log = logging.getLogger(__name__)


def notify(
    notifications: Sequence[Notification], dag_id: str, stores: Sequence[StoreSummary], desk: str, run: str
) -> None:
    """Notify every recipient for whom the run has news; a failed delivery is logged and changes nothing else.

    :param desk: address of the FBA desk
    :param run: address of the run in Airflow's UI
    """
    for recipient in notifications:
        news = message(dag_id, stores, recipient.on, desk, run)
        if news is None:
            continue
        title, body, kind = news
        if why := _deliver(recipient.connection, title, body, kind):
            log.error("The notification through connection %s was not delivered: %s.", recipient.connection, why)
        else:
            log.info("Notified through connection %s: %s.", recipient.connection, title)


def _deliver(connection: str, title: str, body: str, kind: str) -> str | None:
    """Send one notification; returns why it was not delivered, or None."""
    import apprise  # noqa: PLC0415 - only a run with news needs it
    from airflow.providers.apprise.hooks.apprise import AppriseHook  # noqa: PLC0415

    try:
        service = apprise.Apprise()
        hook = AppriseHook(connection)
        hook.set_config_from_conn(hook.get_connection(connection), service)
        # Not AppriseNotifier: it does not report whether the message was delivered.
        delivered = service.notify(body=body, title=title, notify_type=apprise.NotifyType(kind))
    except Exception as error:  # whatever a messenger's plugin raises; its text may hold the service's token
        return type(error).__name__
    return None if delivered else "the service refused it, or the connection has no service"
