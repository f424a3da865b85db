"""Batches of photographs: finding them, naming their paintings, painting them, and reporting the results."""
