"""Knows who is told what can be sold: every change in its order, and how far each destination has got."""
