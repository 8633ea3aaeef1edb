"""PostgreSQL, its kept connections looked at without a question; see base."""
