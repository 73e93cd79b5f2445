"""C99: the firmware's own kernels, here compiled for this machine."""
