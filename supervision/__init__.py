"""Supervision of climate simulations driven by libIGCM."""
