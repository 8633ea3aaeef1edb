"""`./start bench web`: real HTTP against the real web process, and what of it was kept."""
