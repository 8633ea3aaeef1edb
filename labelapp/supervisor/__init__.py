"""What `./start` runs: one process that starts, watches and stops all the others.

Knows programs, sockets and logs; knows neither Django nor torch.
"""
