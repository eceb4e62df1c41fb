"""Frozen networks, which turn texts and images into vectors, and the engines that compute these networks."""
