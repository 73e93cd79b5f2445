"""Float64 references: what the integers approximate."""
