"""Passages kept and searched."""
