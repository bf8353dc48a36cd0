"""The laws. Adding one is a file beside this one and a line in LAWS."""
