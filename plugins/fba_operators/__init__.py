"""Airflow operators for merchants who keep stock with Amazon (FBA): inventory, fulfillment requests, shipments."""

from pathlib import Path

__version__ = "0.2.0"

_PACKAGE = Path(__file__).resolve().parent
# In a wheel the folder is inside the package; in a clone, where the package is installed editable, beside plugins/.
INCLUDE = _PACKAGE / "include" if (_PACKAGE / "include").is_dir() else _PACKAGE.parents[1] / "include"
