"""What every interaction passes: it arrives, is admitted, handled, answered and reported."""
