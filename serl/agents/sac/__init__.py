"""Soft actor-critic from state, with an ensemble of critics."""
