"""Participants, networks and measurements of `training.py`."""
