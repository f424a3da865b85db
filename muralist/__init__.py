"""Turn photographs of any size into one seamless painting."""
