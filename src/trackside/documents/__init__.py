"""The JSON documents that stages exchange: typed, versioned, unknown fields kept, schemas generated from the types."""
