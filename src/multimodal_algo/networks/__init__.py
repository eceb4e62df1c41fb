"""Frozen networks for texts and images: the library they come from, the encoding, and the engines that run them."""
