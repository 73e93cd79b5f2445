"""What doctest leaves alone: importing these imports Lava, which need not be there and sets how processes start."""

_NEED_LAVA = ("processes/*", "network.py", "session.py", "engine_process.py")
collect_ignore_glob = [f"ska_edge/backends/lava/{name}" for name in _NEED_LAVA]
