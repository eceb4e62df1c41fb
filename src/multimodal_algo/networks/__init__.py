"""Frozen networks for texts and images: where they come from, how they encode, and what runs them."""
