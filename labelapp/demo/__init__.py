"""Content to look at on the first day: accounts, campaigns, sample comparisons."""
