"""Who does the work: processes on this machine or a cluster, what suits them, and which of them does what next."""
