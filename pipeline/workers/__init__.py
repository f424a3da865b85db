"""Workers: processes on this machine or a cluster, what is required of them, and the scheduling of tasks."""
