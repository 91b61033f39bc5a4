"""Figures: records, or mathematics alone, in; a matplotlib figure out."""
