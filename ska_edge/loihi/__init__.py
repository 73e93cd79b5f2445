"""Neuromorphic hardware: a Program mapped onto cores, its activity recorded, its time and energy estimated."""
