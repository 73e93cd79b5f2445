"""Cycle-level simulation of the real firmware.  Imports nothing from ska_edge: its independence makes it evidence."""
