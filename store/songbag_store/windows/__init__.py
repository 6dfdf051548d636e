"""The windows of songs: fragments written and read, the shards and the cache below them."""
