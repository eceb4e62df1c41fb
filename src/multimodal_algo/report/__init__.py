"""Metrics of held-out rows, and the page that shows them."""
