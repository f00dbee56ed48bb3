"""Airflow operators for merchants who keep stock with Amazon (FBA): inventory, fulfillment requests, shipments."""

__version__ = "0.1.0"
