"""What the platform does when an algorithm is validated, done here, and more: every promise of the request is tried."""
