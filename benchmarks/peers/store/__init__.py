"""The index of songs as a table that is committed to, beside formats of tables and arrays that have commits too."""
