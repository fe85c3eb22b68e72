"""BigQuery: names, credentials and clients; tables, read sessions, streams of rows. No Beam."""
