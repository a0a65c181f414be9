"""Tables wherever they lie, read batch by batch: files, what DVC tracks, file systems, downloads, SQL."""
