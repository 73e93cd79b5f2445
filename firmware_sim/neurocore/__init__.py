"""A neurocore machine beside the microcontrollers: hardware profiles, maps and recorded activity, time and energy.

It reads everything as files and imports nothing from ska_edge: its independence makes it evidence.
"""
