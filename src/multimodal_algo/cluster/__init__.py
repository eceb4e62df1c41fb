"""Several hosts that train together: how they find each other, and Ray, which deals out the work."""
