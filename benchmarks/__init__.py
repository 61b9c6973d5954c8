"""Races against the limit, against naive code and against peers."""
