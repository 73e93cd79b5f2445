"""What doctest leaves alone: importing these imports Lava, which need not be there and sets how processes start."""

collect_ignore_glob = [f"ska_edge/backends/lava/{name}" for name in ("processes/*", "network.py", "session.py")]
