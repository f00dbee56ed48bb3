"""Starting a run for a person, as Airflow's own button does: under the user's name, once, and not of a DAG that is paused."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from airflow.api.common.trigger_dag import trigger_dag
from airflow.exceptions import DagRunAlreadyExists
from airflow.models import DagModel, DagRun
from airflow.sdk.exceptions import AirflowException
from airflow.utils.session import create_session
from airflow.utils.state import DagRunState
from airflow.utils.types import DagRunTriggeredByType, DagRunType
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError


@dataclass(frozen=True)
class DagNow:
    """A DAG as a person sees it before starting a run.

    :param last_run: id, state and time of the newest run in words; empty: there is none
    :param refusal: why no run can be started now; empty where one can
    """

    dag_id: str
    last_run: str
    refusal: str

    def digest(self, conf: dict[str, Any], *facts: object) -> str:
        """Of all that the person saw; the run's id is made of it, so that of two clicks on equal pages one starts a run.

        :param conf: the run's params
        :param facts: what else was shown
        """
        return sha256(repr((self.dag_id, self.last_run, sorted(conf.items()), facts)).encode()).hexdigest()


def dag_now(dag_id: str) -> DagNow:
    """Look at the DAG and its newest run in Airflow's database."""
    with create_session(scoped=False) as session:
        dag = session.scalar(select(DagModel).where(~DagModel.is_stale, DagModel.dag_id == dag_id))
        newest = select(DagRun).where(DagRun.dag_id == dag_id).order_by(DagRun.id.desc()).limit(1)
        run = session.scalar(newest)
        at_work = session.scalar(newest.where(DagRun.state.in_((DagRunState.QUEUED, DagRunState.RUNNING))))
        last_run = "" if run is None else f"{run.run_id}, {run.state}, {_minute(run.run_after)}"
        if dag is None:
            refusal = f"Airflow does not know a DAG {dag_id}: it is not in its DAGs folder, or could not be read."
        elif dag.has_import_errors:
            refusal = f"The file of {dag_id} has an import error: correct it first. Airflow's page of DAGs shows it."
        elif dag.is_paused:
            refusal = f"{dag_id} is paused, so a run would only wait. Switch it on first, on its page in Airflow."
        elif dag.allowed_run_types is not None and DagRunType.MANUAL not in dag.allowed_run_types:
            refusal = f"{dag_id} allows no runs by hand."
        elif at_work is not None:
            refusal = (
                f"A run of {dag_id} is under way ({at_work.run_id}). Wait until it has ended, and look at what it did."
            )
        else:
            refusal = ""
        return DagNow(dag_id, last_run, refusal)


@dataclass(frozen=True)
class Started:
    """What became of a click.

    :param run_id: the new run; empty: none was started
    :param sentence: what was done, or why nothing was
    """

    run_id: str
    sentence: str


def start_run(now: DagNow, conf: dict[str, Any], *, actor: str, seen: str, digest: str) -> Started:
    """Start a run, unless something has changed since the person looked.

    :param now: the DAG as it is now
    :param conf: the run's params
    :param actor: the user's name in Airflow, which the run keeps
    :param seen: the digest that the person saw
    :param digest: the digest now
    """
    faster = f"Nothing was started: somebody or a run was faster. The newest run of {now.dag_id} is {now.last_run or 'none'}."
    if now.refusal:
        return Started("", f"Nothing was started. {now.refusal}")
    if seen != digest:
        return Started("", f"{faster} Look again, and decide again.")
    at = datetime.now(UTC)
    try:
        run = trigger_dag(
            now.dag_id,
            run_id=f"manual__fba-desk-{digest[:24]}",
            conf=conf,
            logical_date=at,
            run_after=at,
            replace_microseconds=False,
            triggered_by=DagRunTriggeredByType.UI,
            triggering_user_name=actor,
        )
    except (DagRunAlreadyExists, IntegrityError):
        return Started("", faster)
    except (AirflowException, ValueError) as error:  # Airflow's reason, for example a param that it does not take
        return Started("", f"Nothing was started: Airflow refuses it. {error}")
    if run is None:
        return Started("", "Nothing was started: Airflow gave no reason.")
    return Started(str(run.run_id), f"A run of {now.dag_id} was started: {run.run_id}.")


def _minute(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
