"""The report of a training job: metrics on held-out rows, and the page that shows them."""
