"""songbag beside what one would use instead: a question a folder, peers in environments of their own, one run."""

QUESTIONS = ("features", "extraction", "streaming", "training", "store")
"""The folders of the questions, in the order of the page."""
