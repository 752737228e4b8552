"""Attacks as data: sent as they are written, judged by what they did."""
