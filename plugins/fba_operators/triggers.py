"""The trigger's module before version 0.2: tasks that were deferred by that version still name it."""

from fba_operators.amazon.trigger import ProcessingTrigger

__all__ = ["ProcessingTrigger"]
